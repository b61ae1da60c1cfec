"""Layers with an index of their own, eStargz and zstd:chunked: it is no part of the image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from converter.image import ConvertedImage, convert_image
from converter.oci import Digest
from converter.options import ConvertOptions
from tests.images.estargz import LANDMARKS, TOC_NAME, encode_estargz
from tests.images.layout import Image, build_image, read_image, stored_image
from tests.images.tar import directory, encode_tar, file, hardlink, symlink
from tests.peers.programs import run_program

ENTRIES = [
    directory("usr"), file("usr/a", b"a" * 3_000_000), file("usr/empty"), symlink("b", "usr/a"),
    hardlink("c", "usr/a"),
    # Below the root these are files like any other.
    file("usr/stargz.index.json", b"{}"), file("usr/.prefetch.landmark", b"1"),
]  # fmt: skip


def convert(image: Image, work: Path) -> ConvertedImage:
    work.mkdir()
    return convert_image(image.manifest, image.config, image.open_layer, work, ConvertOptions())


@pytest.mark.parametrize("prioritised", [0, 2, len(ENTRIES)])
def test_estargz_gives_the_bytes_of_the_plain_layer(prioritised: int, tmp_path: Path) -> None:
    stored, tar = encode_estargz(ENTRIES, prioritised)
    assert TOC_NAME in tar
    assert LANDMARKS[prioritised == 0] in tar
    indexed = convert(stored_image([(stored, Digest.of(tar))]), tmp_path / "indexed")
    plain = convert(build_image([encode_tar(ENTRIES)]), tmp_path / "plain")
    assert indexed.manifest.layers == plain.manifest.layers


@pytest.mark.peers
def test_zstd_chunked_gives_the_bytes_of_the_plain_layer(tmp_path: Path) -> None:
    image = build_image([encode_tar(ENTRIES), encode_tar([file("usr/d", bytes(200_000))])])
    image.write_layout(tmp_path / "in")
    run_program(
        "skopeo", "--insecure-policy", "copy", "--dest-compress-format", "zstd:chunked",
        f"oci:{tmp_path}/in:test", f"oci:{tmp_path}/chunked:test",
    )  # fmt: skip
    chunked = read_image(tmp_path / "chunked", "test")
    layers = json.loads(chunked.manifest.raw)["layers"]
    assert all("io.containers.zstd-chunked.manifest-position" in layer["annotations"] for layer in layers)
    indexed, plain = convert(chunked, tmp_path / "indexed"), convert(image, tmp_path / "plain")
    assert indexed.manifest.layers == plain.manifest.layers
