"""Dumps account for every byte, in order, and say what is odd."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pytest

from converter.blob import BlobReader
from converter.errors import BootstrapError
from converter.inspection.blob_dump import dump_blob
from converter.inspection.dump import dump_bootstrap
from converter.inspection.figures import describe_blob_file, describe_bootstrap
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from tests.converter.blob.test_chunk_info_v2 import index_blob
from tests.converter.layers import convert
from tests.converter.rafs.samples import TreeBuilder
from tests.converter.rafs.test_reader import GOOD, encode, odd_tree
from tests.converter.rafs5.samples import encode_v5
from tests.images import tar as made

INSIDE = "  "


def check_lines(lines: Iterable[str], size: int) -> list[str]:
    """Checks that the lines follow each other without gap or overlap, and those inside a line lie in it.

    Returns:
        The text of each line.
    """
    texts = []
    at = start = 0
    for line in lines:
        offset, length, text = line[:10], line[11:19], line[21:]
        texts.append(text)
        if text.startswith(INSIDE):
            assert start <= int(offset, 16) <= int(offset, 16) + int(length, 16) <= at
            continue
        start = int(offset, 16)
        assert start == at, line
        at += int(length, 16)
    assert at == size
    return texts


@pytest.mark.parametrize("make", [lambda builder: bytes(encode(builder)), encode_v5], ids=["v6", "v5"])
def test_every_byte_of_a_bootstrap_is_named(make: object) -> None:
    assert callable(make)
    data = make(odd_tree())
    texts = check_lines(dump_bootstrap(data), len(data))
    assert not any("!!" in text for text in texts)
    assert sum(text.startswith("chunk record") for text in texts) >= 14
    assert any("target" in text and text.endswith("t" * 100) for text in texts)
    assert any("user.a=" in text and "security.capability=" in text for text in texts)
    assert any(r"\xff\xfe" in text for text in texts)


def test_an_empty_bootstrap() -> None:
    data = bytes(encode(TreeBuilder()))
    check_lines(dump_bootstrap(data), len(data))
    data = encode_v5(TreeBuilder())
    check_lines(dump_bootstrap(data), len(data))


def test_bytes_that_belong_to_nothing_are_marked() -> None:
    data = bytearray(GOOD)
    data[10] = 1
    data[4096 + 1000] = 0xAB
    texts = check_lines(dump_bootstrap(data), len(data))
    marked = [text for text in texts if "!!" in text]
    assert len(marked) == 2
    assert marked[0] == "!! unknown bytes, beginning with 00000000000000000000010000000000"


def test_what_stands_before_the_damage_is_shown() -> None:
    data = bytearray(GOOD)
    data[-4096 + 72 : -4096 + 76] = b"\xff" * 4  # index of a chunk
    lines = dump_bootstrap(data)
    shown = [next(lines) for _ in range(3)]
    assert "superblock magic=0xe0f5e1e2" in shown[1]
    with pytest.raises(BootstrapError):
        list(lines)


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(),
        ConvertOptions(compressor="none", kernel_mountable=True),
        ConvertOptions(chunk_size=4096, compressor="lz4_block"),
    ],
    ids=["zstd", "kernel", "4K"],
)
def test_every_byte_of_a_blob_is_named(options: ConvertOptions, tmp_path: Path) -> None:
    layer = made.encode_tar([made.file("d/a", b"a" * 70_000), made.file("b", b"b"), made.symlink("l", "b")])
    blob = convert(layer, tmp_path, options).blob
    with blob.path.open("rb") as file:
        reader = BlobReader(file)
        texts = check_lines((line for line in dump_blob(reader) if not line.startswith(" ")), blob.size)
        assert sum(text.startswith("stored chunk") for text in texts) == len(blob.chunks)
        assert sum(text.startswith("contents name=") for text in texts) == 5
        assert any("superblock" in line for line in dump_blob(reader))


def test_every_byte_of_an_index_is_named() -> None:
    data = index_blob()
    texts = check_lines(dump_blob(BlobReader(io.BytesIO(data))), len(data))
    assert [text.partition(" ")[0] for text in texts] == [
        "chunk", "chunk", "chunk", "inflate", "inflate", "dictionaries", "chunk",
    ]  # fmt: skip


def test_the_figures_of_a_bootstrap() -> None:
    builder = TreeBuilder(4096)
    builder.hardlink(b"d/h", builder.file(b"c", bytes(9000)))
    shared = builder.file(b"again", bytes(9000))
    builder.tree.first_chunk[shared] = 0
    builder.symlink(b"l", b"c")
    figures = describe_bootstrap(read_bootstrap(encode(builder)))
    assert figures.inodes == {"directories": 2, "files": 2, "symlinks": 1}
    assert (figures.names, figures.chunk_size, figures.prefetch) == (5, 4096, ("/",))
    assert (figures.sharing.references, figures.sharing.chunks) == (6, 3)
    assert (figures.sharing.file_bytes, figures.sharing.saved_bytes) == (18000, 9000)
    (blob,) = figures.blobs
    assert (blob.chunks, blob.used_chunks, blob.used_size, blob.ratio) == (6, 3, 9000, 1.0)


def test_the_figures_of_an_index() -> None:
    figures = describe_blob_file(BlobReader(io.BytesIO(index_blob())))
    assert (figures.chunks, figures.chunk_info_version, figures.inflate_contexts) == (3, 2, 2)
    assert figures.bootstrap is None
    assert figures.features == ("aligned", "chunk_info_v2", "zran", "separate")
