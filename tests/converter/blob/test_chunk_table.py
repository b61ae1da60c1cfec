"""The chunk info table on disk."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.blob import ChunkTable
from converter.errors import BlobError

COLUMNS = ("digests", "uncompressed_size", "uncompressed_offset", "compressed_size", "compressed_offset")


def table_of(sizes: list[tuple[int, int]], gaps: list[int] | None = None) -> ChunkTable:
    """A table of chunks with (uncompressed, stored) sizes."""
    table = ChunkTable()
    uncompressed = stored = 0
    for number, (size, stored_size) in enumerate(sizes):
        table.digests += random.Random(number).randbytes(32)
        table.uncompressed_size.append(size)
        table.uncompressed_offset.append(uncompressed)
        table.compressed_size.append(stored_size)
        table.compressed_offset.append(stored)
        uncompressed += -(-size // 4096) * 4096
        stored += stored_size + (gaps[number] if gaps else 0)
    return table


def test_the_worked_example() -> None:
    """Bytes of the reference builder (docs/nydus-image.md §6)."""
    assert table_of([(12, 12), (5000, 19)]).encode().hex() == (
        "0000000000b000000000000000b00000"
        "00100000007038010c00000000200100"
    )  # fmt: skip


def test_large_sizes_use_the_upper_bits() -> None:
    """16 MiB, the largest chunk, stored in 1 MiB and one byte: 24 bits of each size are in two places."""
    record = table_of([(1 << 24, (1 << 20) + 1)]).encode()
    assert record.hex(" ", 8) == "000f000000f0ffff 0000000000010000"


SIZES = st.lists(
    st.integers(1, 1 << 24).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))), max_size=20
)


@given(SIZES, st.data())
def test_decoding_inverts_encoding(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(0, 5000), min_size=len(sizes), max_size=len(sizes)))
    table = table_of(sizes, gaps)
    found = ChunkTable.decode(table.encode(), bytes(table.digests))
    for column in COLUMNS:
        assert getattr(found, column) == getattr(table, column)


def changed(column: str, index: int, value: int) -> bytes:
    table = table_of([(5000, 100), (4096, 4096), (10, 5)])
    getattr(table, column)[index] = value
    return table.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed("uncompressed_offset", 1, 4096), "gaps"),
        (changed("uncompressed_offset", 2, 16384), "gaps"),
        (changed("uncompressed_offset", 0, 4096), "gaps"),
        (changed("compressed_offset", 1, 99), "overlap"),
        (changed("compressed_offset", 0, 5000), "overlap"),
        (changed("compressed_size", 2, 11), "larger"),
        (b"\1" + changed("compressed_size", 2, 5)[1:], "unknown bits"),
        (changed("compressed_size", 2, 5)[:-16], "do not go with"),
        (changed("compressed_size", 2, 5)[:-1], "not whole records"),
    ],
)
def test_tables_that_readers_refuse_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BlobError, match=reason):
        ChunkTable.decode(data, bytes(3 * 32))
