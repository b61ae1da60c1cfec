"""Images as one EROFS file, held to the truth through a loop device, and read by erofs-utils."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converter.fs_verity import fs_verity_of
from converter.oci import Digest, media_types
from converter.one_file import OneFileImage, convert_to_one_file
from converter.options import ConvertOptions
from tests.images.layout import Image, build_image
from tests.images.odd import odd_image
from tests.images.tar import directory, encode_tar, file
from tests.interop.truth import converted_cases
from tests.peers.programs import run_program
from tests.trees import Tree, assert_same_tree, snapshot, wrong_link_counts

OPTIONS = {
    "1M": ConvertOptions(),
    "4K": ConvertOptions(chunk_size=4096),
    "16M": ConvertOptions(chunk_size=16 << 20),
}
LOST_BY_FSCK = ("mode", "uid", "gid", "mtime_s", "links", "group", "xattrs")


def convert(image: Image, work: Path, options: ConvertOptions) -> OneFileImage:
    work.mkdir()
    return convert_to_one_file(image.manifest, image.config, image.open_layer, work, options)


@contextmanager
def loop_mount(path: Path, mountpoint: Path) -> Iterator[Path]:
    """As a user does it: `mount -o loop`."""
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", path, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", mountpoint], check=True)


@pytest.fixture(scope="module", params=OPTIONS)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OneFileImage:
    work = tmp_path_factory.mktemp("one") / "work"
    return convert(
        odd_image(converted_cases(), ("gzip", "zstd", "plain", "plain")), work, OPTIONS[request.param]
    )


@pytest.mark.root
@pytest.mark.peers
def test_a_loop_mount_shows_the_truth(odd: OneFileImage, odd_tree: Tree, tmp_path: Path) -> None:
    with loop_mount(odd.path, tmp_path / "mnt") as mounted:
        shown = snapshot(mounted)
    assert_same_tree(odd_tree, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.root
@pytest.mark.peers
def test_fsck_extracts_the_same_names_types_and_bytes(
    odd: OneFileImage, odd_tree: Tree, tmp_path: Path
) -> None:
    run_program("fsck.erofs", f"--extract={tmp_path / 'out'}", "--no-preserve", odd.path)
    assert_same_tree(odd_tree, snapshot(tmp_path / "out"), LOST_BY_FSCK)


@pytest.mark.peers
def test_the_layer_is_the_file(odd: OneFileImage) -> None:
    (layer,) = odd.manifest.layers
    content = odd.path.read_bytes()
    assert (layer.media_type, layer.size) == (media_types.EROFS_LAYER, len(content))
    assert layer.digest == Digest.of(content)
    assert layer.annotations[media_types.ANNOTATION_FS_VERITY] == str(fs_verity_of(odd.path))
    assert run_program("fsverity", "digest", "--compact", odd.path).strip() == fs_verity_of(odd.path).hex


@pytest.mark.root
@pytest.mark.peers
def test_an_image_without_content_can_be_mounted(tmp_path: Path) -> None:
    image = convert(
        build_image([encode_tar([directory("d"), file("d/empty")])]), tmp_path / "a", ConvertOptions()
    )
    with loop_mount(image.path, tmp_path / "mnt") as mounted:
        assert [path.name for path in (mounted / "d").iterdir()] == ["empty"]
        assert (mounted / "d/empty").read_bytes() == b""
