"""Images in one EROFS file: documents, what is stored, and what is refused. Interop tests mount them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from converter.classify import Kind, classify
from converter.errors import BlobError
from converter.nydus_image import NydusImage
from converter.oci import Digest, ImageManifest, media_types, parse_manifest
from converter.one_file import OneFileImage, check_options, convert_to_one_file, write_one_file
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from tests.converter.memory_files import nydus_files
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file, symlink

A, B = b"a" * 5000, bytes(range(256)) * 40
# Whatever zlib and zstd are: nothing in the file is compressed.
PINNED = "sha256:2bd153413236c41499e7cadf75acc4f0f69978d20568a9b9951b795691964739"


def source() -> Image:
    layers = [
        [directory("d"), file("d/a", A), file("gone", b"g" * 9000), symlink("l", "d/a")],
        [file("b", B), file("again", A), file(".wh.gone"), file("empty")],
    ]
    return build_image([encode_tar(layer) for layer in layers])


def convert(image: Image, work: Path, options: ConvertOptions | None = None) -> OneFileImage:
    work.mkdir()
    chosen = options or ConvertOptions()
    return convert_to_one_file(image.manifest, image.config, image.open_layer, work, chosen)


def test_the_image_has_one_layer_and_the_config_of_its_source(tmp_path: Path) -> None:
    image = source()
    made = convert(image, tmp_path / "work")
    (layer,) = made.manifest.layers
    assert layer.media_type == "application/vnd.erofs.layer.v1"
    assert made.manifest.subject is None
    assert made.manifest.annotations[media_types.ANNOTATION_SOURCE_DIGEST] == str(image.manifest.digest)
    assert classify(made.manifest) is Kind.EROFS
    config, old = json.loads(made.config), json.loads(image.config)
    assert Digest.of(made.config) == made.manifest.config.digest
    assert config["rootfs"]["diff_ids"] == [str(layer.digest)]
    assert config["config"] == old["config"]
    assert [bool(entry.get("empty_layer")) for entry in config["history"]] == [False]


def test_lines_of_history_have_no_layers_any_more(tmp_path: Path) -> None:
    image = source()
    config = json.loads(image.config) | {"history": [{"created_by": "x"}, {"created_by": "y"}]}
    raw = json.dumps(config).encode()
    document = json.loads(image.manifest.raw)
    document["config"] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    parsed = parse_manifest(json.dumps(document).encode())
    assert isinstance(parsed, ImageManifest)
    made = convert(Image(parsed, raw, image.blobs), tmp_path / "work")
    history = json.loads(made.config)["history"]
    assert [entry.get("empty_layer", False) for entry in history] == [True, True, False]


def test_equal_chunks_of_different_layers_are_stored_once_and_hidden_ones_not_at_all(tmp_path: Path) -> None:
    content = convert(source(), tmp_path / "work").path.read_bytes()
    assert content.count(A) == 1
    assert content.count(B) == 1
    assert b"g" * 9000 not in content
    assert len(content) % 4096 == 0


def test_the_bytes_depend_on_image_and_chunk_size_only(tmp_path: Path) -> None:
    made = set()
    for number, options in enumerate(
        (ConvertOptions(), ConvertOptions(threads=1), ConvertOptions(level=9), ConvertOptions("none"))
    ):
        made.add(str(convert(source(), tmp_path / str(number), options).manifest.digest))
    assert len(made) == 1
    other = convert(source(), tmp_path / "other", ConvertOptions(chunk_size=4096))
    assert str(other.manifest.digest) not in made


def test_the_bytes_are_what_they_were(tmp_path: Path) -> None:
    assert str(convert(source(), tmp_path / "work").manifest.layers[0].digest) == PINNED


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(compressor="none", kernel_mountable=True),
        ConvertOptions(compressor="lz4_block"),
        ConvertOptions(digester="sha256"),
        ConvertOptions(prefetch=("/d",)),
        ConvertOptions(media_types="docker"),
        ConvertOptions(share_layers=True),
        ConvertOptions(fs_version=5),
    ],
    ids=str,
)
def test_options_without_a_meaning_are_refused(options: ConvertOptions) -> None:
    with pytest.raises(ValueError, match="only its chunk size"):
        check_options(options)


@pytest.mark.parametrize(
    "options", [ConvertOptions(), ConvertOptions(compressor="lz4_block"), ConvertOptions(fs_version=5)]
)
def test_nydus_images_of_every_form_give_the_same_file(options: ConvertOptions, tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path / "nydus", options)
    with NydusImage(files, manifest) as image:
        layer = write_one_file(image, tmp_path / "file")
    assert str(layer.digest) == PINNED


def test_a_chunk_that_is_not_what_it_should_be_ends_it(tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path / "nydus", ConvertOptions(compressor="none"))
    digest = manifest.layers[1].digest
    content = files.blobs[digest]
    place = content.index(B)
    files.blobs[digest] = content[:place] + b"x" + content[place + 1 :]
    with NydusImage(files, manifest) as image, pytest.raises(BlobError, match="does not match its digest"):
        write_one_file(image, tmp_path / "file", NO_PROGRESS)
