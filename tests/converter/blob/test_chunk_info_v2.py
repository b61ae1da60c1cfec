"""Chunk info of version 2, and the other framings of blobs, from bytes made by hand."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.blob import BlobReader
from converter.blob.chunk_info_v2 import CHUNK_INFO_V2, INFLATE_CONTEXT
from converter.blob.layout import ChunkInfoHeader, section_header
from converter.blob.reader import BlobKind
from converter.errors import BlobError
from converter.rafs.layout import BlobFeature

Rows = list[tuple[int, int, int]]
IN_GZIP = BlobFeature.ALIGNED | BlobFeature.CHUNK_INFO_V2 | BlobFeature.ZRAN | BlobFeature.SEPARATE
ZRAN = 3 << 56


def row(flags: int, offset: int, size: int, stored: tuple[int, int], data: int) -> tuple[int, int, int]:
    """A record of chunk info."""
    return (flags << 56 | (size - 1) << 32 | offset >> 12, stored[1] << 40 | stored[0], data)


# Two chunks in the first window, which share a byte of the gzip file, and one in the second.
CHUNKS = [
    row(3, 0, 4097, (10, 3000), 0),
    row(3, 8192, 100, (3009, 200), 4097),
    row(3, 12288, 5, (9000, 2000), 1 << 32 | 7),
]
CONTEXTS = np.array(
    [(10, 0, 0, 4000, 5000, 0, 0, 0, 0), (9000, 5000, 0, 100, 12, 3, 0xFF, 7, 0)], INFLATE_CONTEXT
)


def index_blob(
    chunks: Rows = CHUNKS, contexts: Any = CONTEXTS, changes: Mapping[str, int] | None = None
) -> bytes:
    """An index blob as `nydus-image create --blob-dir` writes it."""
    table = np.array(chunks, CHUNK_INFO_V2).tobytes()
    windows: bytes = contexts.tobytes() + b"dic"
    header = ChunkInfoHeader(
        features=IN_GZIP,
        compressor=0,
        entries=len(chunks),
        offset=0,
        compressed_size=len(table + windows),
        uncompressed_size=len(table + windows),
        zran_offset=len(table),
        zran_size=len(windows),
        zran_count=len(contexts),
    )
    return table + windows + replace(header, **(changes or {})).encode()


def changed(row: int, **fields: int) -> Any:
    """The contexts with some fields of one changed."""
    contexts = CONTEXTS.copy()
    for name, value in fields.items():
        contexts[name][row] = value
    return contexts


def test_an_index_of_a_gzip_file_is_read() -> None:
    reader = BlobReader(io.BytesIO(index_blob()))
    assert reader.kind is BlobKind.PLAIN
    table, windows = reader.chunk_info()
    assert windows is not None
    assert table.uncompressed_size.tolist() == [4097, 100, 5]
    assert table.uncompressed_offset.tolist() == [0, 8192, 12288]
    assert table.compressed_size.tolist() == [3000, 200, 2000]
    assert table.compressed_offset.tolist() == [10, 3009, 9000]
    assert windows.context.tolist() == [0, 0, 1]
    assert windows.offset.tolist() == [0, 4097, 7]
    assert [windows.dictionary(0), windows.dictionary(1)] == [b"", b"dic"]
    with pytest.raises(BlobError, match="not in this blob"):
        reader.chunk(table, 0)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (index_blob([row(7, 0, 5, (10, 9), 0)]), "batch"),
        (index_blob([row(11, 0, 5, (10, 9), 0)]), "encrypted"),
        (index_blob([row(0x23, 0, 5, (10, 9), 0)]), "flags"),
        (index_blob([row(1, 0, 5, (10, 9), 0)]), "flags"),
        (index_blob([row(3, 4096, 5, (10, 9), 0)]), "gaps"),
        (index_blob([CHUNKS[0], row(3, 8192, 5, (9, 9), 0)]), "order"),
        (index_blob([row(3, 0, 5, (10, 9), 2 << 32)]), "context 2 of 2"),
        (index_blob([row(3, 0, 5, (10, 9), 4996)]), "goes on behind"),
        (index_blob([row(3, 0, 5, (10, 9), 0xFFFFFFFF)]), "goes on behind"),
        (index_blob(contexts=changed(1, bits=8)), "context 1 has numbers"),
        (index_blob(contexts=changed(1, dict_size=4)), "context 1 has numbers"),
        (index_blob(contexts=changed(0, dict_size=32769)), "context 0 has numbers"),
        (index_blob(contexts=changed(0, dict_offset=2**64 - 1)), "context 0 has numbers"),
        (index_blob(contexts=changed(0, in_offset=2**40)), "context 0 has numbers"),
        (index_blob(contexts=changed(0, reserved=1)), "context 0 has numbers"),
        (index_blob(changes={"zran_count": 3}), "do not fill"),
        (index_blob(changes={"zran_count": 2**32 - 1}), "do not fill"),
        (index_blob(changes={"zran_offset": 24}), "do not fill"),
        (index_blob(changes={"zran_size": 1}), "do not fill"),
        (index_blob(changes={"entries": 9}), "do not go with"),
        (index_blob(changes={"entries": 2**24}), "over the limit"),
        (index_blob(changes={"uncompressed_size": 2**29}), "over the limit"),
        (index_blob(changes={"compressor": 9}), "method 9"),
        (index_blob(changes={"compressor": 2}), "GZIP, which is not supported"),
        (index_blob(changes={"compressed_size": 1}), "does not end where"),
        (index_blob(changes={"offset": 2**63}), "does not end where"),
        (index_blob(changes={"features": 0x8D}), "not supported: BATCH"),
        (index_blob(changes={"features": 0x10D}), "not supported: ENCRYPTED"),
    ],
)
def test_indexes_that_break_the_format_are_refused(blob: bytes, reason: str) -> None:
    with pytest.raises(BlobError, match=reason):
        BlobReader(io.BytesIO(blob)).chunk_info()


def framed(name: bytes, data: bytes) -> bytes:
    return data + section_header(name, len(data))


def test_chunks_that_lie_elsewhere_may_be_announced_as_nydus_image_does_it() -> None:
    """Release 2.2 has the header of a section in front of the index, but not the section."""
    table = np.array(CHUNKS, CHUNK_INFO_V2).tobytes() + CONTEXTS.tobytes() + b"dic"
    header = ChunkInfoHeader(IN_GZIP, 0, 3, 512, len(table), len(table), 72, len(table) - 72, 2).encode()
    blob = section_header(b"image.blob", 11_000) + framed(b"blob.meta", table + header)
    reader = BlobReader(io.BytesIO(blob))
    assert reader.kind is BlobKind.HEADERS
    assert [(s.name, s.offset, s.size, s.elsewhere) for s in reader.sections] == [
        (b"image.blob", 0, 0, 11_000),
        (b"blob.meta", 512, len(table) + 4096, 0),
    ]
    assert len(reader.chunk_table()) == 3


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "no blob"),
        (bytes(5000), "magics"),
        (framed(b"other", b"x"), "unknown"),
        (framed(b"blob.meta", b"") + framed(b"blob.meta", b""), "twice"),
        (framed(b"image.boot", b"") + framed(b"image.blob", b""), "not in order"),
        (b"x" + framed(b"image.boot", b""), "no tar header"),
        (framed(b"image.boot", b"x")[1:], "more than there are"),
        (framed(b"blob.meta", b"short"), "no room"),
        (framed(b"rafs.blob.toc", bytes(100)), "table of contents"),
        (framed(b"rafs.blob.toc", bytes(128)), "flags"),
    ],
)
def test_framings_that_no_blob_has_are_refused(blob: bytes, reason: str) -> None:
    def use() -> None:
        assert BlobReader(io.BytesIO(blob)).header is not None

    with pytest.raises(BlobError, match=reason):
        use()


def put(changes: Mapping[int, int]) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        damaged = bytearray(data)
        for at, value in changes.items():
            damaged[at % len(data)] = value
        return bytes(damaged)

    return change


@given(st.dictionaries(st.integers(0, 6000), st.integers(0, 255), max_size=4).map(put))
@settings(deadline=None, max_examples=300)
def test_changed_bytes_give_our_error_or_a_sound_table(change: Callable[[bytes], bytes]) -> None:
    try:
        table, windows = BlobReader(io.BytesIO(change(index_blob()))).chunk_info()
    except BlobError:
        return
    assert len(table) == 3
    assert windows is not None
    assert all(len(windows.dictionary(context)) <= 3 for context in range(2))
