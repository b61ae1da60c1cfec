"""What the encoder gets wrong does not leave: bootstraps are compared with what they were made of."""

from __future__ import annotations

import stat
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from converter import image as image_module
from converter.errors import BootstrapError
from converter.image_form import write_bootstrap
from converter.options import ConvertOptions
from converter.tree import FileTree
from tests.converter.layers import paths
from tests.converter.memory_files import nydus_files
from tests.images.layout import build_image
from tests.images.tar import directory, encode_tar, file, hardlink, symlink

SOURCE = build_image(
    [
        encode_tar(
            [
                directory("d"), file("d/a", b"a" * 5000, xattrs={b"user.a": b"1"}), hardlink("again", "d/a"),
                symlink("link", "d/a"), file("b", bytes(range(250)) * 36, uid=5),
            ]
        )
    ]
)  # fmt: skip


def put(column: str, path: bytes, value: int) -> Callable[[FileTree], None]:
    return lambda tree: getattr(tree, column).__setitem__(paths(tree)[path], value)


def swap_chunks(tree: FileTree) -> None:
    first = tree.first_chunk[paths(tree)[b"b"]]
    tree.chunk_refs[first], tree.chunk_refs[first + 1] = tree.chunk_refs[first + 1], tree.chunk_refs[first]


@pytest.mark.parametrize(
    ("bug", "message"),
    [
        (put("uid", b"b", 0), "/b: uid is 0, should be 5"),
        (put("mode", b"d", stat.S_IFDIR | 0o700), "/d: mode is 0o700"),
        (put("mtime_ns", b"link", 5), "/link: mtime_ns is 5, should be 0"),
        (lambda tree: tree.xattrs.clear(), "/d/a: xattrs is None"),
        (lambda tree: tree.unlink(tree.ROOT, b"link"), "/link: missing"),
        (lambda tree: tree.symlink_target.update({paths(tree)[b"link"]: b"d/b"}), "/link: link target"),
        (swap_chunks, "/b: the content of chunk 0 is different"),
    ],
)
def test_an_error_of_the_encoder_ends_the_conversion(
    bug: Callable[[FileTree], object], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(tree: FileTree, blobs: object, options: object) -> memoryview:
        other = deepcopy(tree)
        bug(other)
        return write_bootstrap(other, blobs, options)  # type: ignore[arg-type]

    monkeypatch.setattr(image_module, "write_bootstrap", broken)
    with pytest.raises(BootstrapError, match="does not say what was meant") as told:
        nydus_files(SOURCE, tmp_path, ConvertOptions(chunk_size=4096, threads=1))
    assert message in str(told.value)


@pytest.mark.parametrize("name", ["compressed_offset", "uncompressed_size", "digests"])
def test_a_chunk_that_is_described_wrongly_ends_the_conversion(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(tree: FileTree, blobs: list, options: object) -> memoryview:  # type: ignore[type-arg]
        values = getattr(blobs[0].chunks, name)
        kept = values[1]
        values[1] ^= 1
        try:
            return write_bootstrap(tree, blobs, options)  # type: ignore[arg-type]
        finally:
            values[1] = kept

    monkeypatch.setattr(image_module, "write_bootstrap", broken)
    with pytest.raises(BootstrapError):
        nydus_files(SOURCE, tmp_path, ConvertOptions(chunk_size=4096, threads=1))
