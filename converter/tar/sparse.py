"""Maps of sparse files: where data lie in a file that is zero elsewhere.

Three forms carry the same thing (GNU tar manual, "Storing Sparse Files"): old GNU headers, PAX records (0.0,
0.1) and a text in front of the data (PAX 1.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, unique
from typing import Final, NamedTuple

from converter.errors import InvalidLayerError
from converter.tar import pax
from converter.tar.header import RECORD_SIZE, decode_number
from converter.tar.source import ByteSource

MAX_MAP_BYTES: Final = 1 << 20  # of the map's text or headers; Go's reader has the same limit
_OLD_ENTRY_SIZE: Final = 24  # two numbers of 12 bytes
_OLD_IN_HEADER: Final = (386, 4)  # offset and number of entries in the header itself
_OLD_IN_EXTENSION: Final = (0, 21)
_OLD_REAL_SIZE: Final = slice(483, 495)


class Extent(NamedTuple):
    """A stretch of data in a sparse file, in bytes."""

    offset: int
    length: int


@unique
class PaxForm(Enum):
    """How a PAX header carries the map: in its records, or in front of the data."""

    RECORDS = "0.0 or 0.1"
    DATA = "1.0"


def pax_form(records: pax.Records) -> PaxForm | None:
    """Which form the records of a file announce; None if it is not sparse, or in unknown ways."""
    version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    if version == (b"1", b"0"):
        return PaxForm.DATA
    # The first version did not give its number.
    if version in ((b"0", b"0"), (b"0", b"1")) or (version == (b"", b"") and records.get(pax.SPARSE_MAP)):
        return PaxForm.RECORDS
    return None


def read_old_gnu(record: bytes, source: ByteSource) -> tuple[int, list[Extent]]:
    """Reads the map of an old GNU sparse file, up to where its data begin.

    Args:
        record: its header record.
        source: what follows the header.

    Returns:
        The size of the expanded file and its extents.

    Raises:
        InvalidLayerError: a malformed or overlong map.
    """
    size = decode_number(record[_OLD_REAL_SIZE], "size of a sparse file")
    extents = list(_old_entries(record, *_OLD_IN_HEADER))
    more = record[482]
    taken = 0
    while more:
        taken += RECORD_SIZE
        if taken > MAX_MAP_BYTES:
            raise InvalidLayerError("the map of a sparse file in the tar is too long")
        record = source.take(RECORD_SIZE)
        extents.extend(_old_entries(record, *_OLD_IN_EXTENSION))
        more = record[504]
    return size, extents


def read_pax_0(records: pax.Records) -> list[Extent]:
    """Reads the map of the formats 0.0 and 0.1.

    Raises:
        InvalidLayerError: a malformed map.
    """
    text = records.get(pax.SPARSE_MAP, b"")
    extents = _pair(text.split(b",") if text else [])
    if len(extents) != pax.decimal(records, b"GNU.sparse.numblocks", 0):
        raise InvalidLayerError("the map of a sparse file in the tar has another length than announced")
    return extents


def read_pax_1(source: ByteSource, stored_size: int) -> tuple[int, list[Extent]]:
    """Reads the map of the format 1.0: numbers in lines, padded to whole records.

    Args:
        source: stands at the beginning of the stored data.
        stored_size: bytes of stored data, the map included.

    Returns:
        Bytes used up, and the extents.

    Raises:
        InvalidLayerError: a malformed or overlong map.
    """
    limit = min(stored_size, MAX_MAP_BYTES)
    text = _take_lines(source, b"", 1, limit)
    count = pax.decode_decimal(text[: text.index(b"\n")], b"the number of extents")
    if not 0 <= count <= limit:
        raise InvalidLayerError(f"a sparse file in the tar has a map of {count} extents")
    text = _take_lines(source, text, 1 + 2 * count, limit)
    return len(text), _pair(text.split(b"\n")[1 : 1 + 2 * count])


def check_map(extents: list[Extent], size: int, stored_size: int) -> None:
    """Checks that a map makes sense.

    Args:
        extents: the map.
        size: bytes of the expanded file.
        stored_size: bytes of data in the archive.

    Raises:
        InvalidLayerError: extents out of order or outside the file, or more or less data than they say.
    """
    end = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise InvalidLayerError("the map of a sparse file in the tar is not in order")
        end = offset + length
    if not end <= size < 1 << 63:
        raise InvalidLayerError(f"the map of a sparse file in the tar ends at {end}, the file at {size}")
    stored = sum(extent.length for extent in extents)
    if stored != stored_size:
        raise InvalidLayerError(f"a sparse file in the tar has {stored_size} bytes of data, its map {stored}")


def expand(source: ByteSource, extents: list[Extent], size: int, zeros: bytes) -> Iterator[bytes]:
    """Gives the content of a sparse file in pieces.

    Args:
        source: stands at the beginning of the data.
        extents: the map, checked.
        size: bytes of the expanded file.
        zeros: a piece of nothing but zeros. Every piece has its length, except for the last one; a piece that
        is
            all hole is this very object, so that a caller knows it without looking.

    Raises:
        InvalidLayerError: the stream ends before.
    """
    rest = iter(extents)
    offset, length = next(rest, Extent(size, 0))
    for start in range(0, size, len(zeros)):
        end = min(start + len(zeros), size)
        parts, at = [], start
        while offset < end:
            if length:
                count = min(offset + length, end) - offset
                parts += [bytes(offset - at), source.take(count)]
                offset, length, at = offset + count, length - count, offset + count
            if length:
                break
            offset, length = next(rest, Extent(size, 0))
        if parts:
            yield b"".join(parts) + bytes(end - at)
        else:
            yield zeros if end - start == len(zeros) else bytes(end - start)


def _old_entries(record: bytes, start: int, count: int) -> Iterator[Extent]:
    for position in range(start, start + count * _OLD_ENTRY_SIZE, _OLD_ENTRY_SIZE):
        if not record[position]:
            return
        offset, length = record[position : position + 12], record[position + 12 : position + 24]
        yield Extent(decode_number(offset, "sparse map"), decode_number(length, "sparse map"))


def _take_lines(source: ByteSource, text: bytes, count: int, limit: int) -> bytes:
    """Adds whole records to `text` until it has `count` lines."""
    records, size = [text], len(text)
    missing = count - text.count(b"\n")
    while missing > 0:
        size += RECORD_SIZE
        if size > limit:
            raise InvalidLayerError("the map of a sparse file in the tar does not end where it must")
        records.append(source.take(RECORD_SIZE))
        missing -= records[-1].count(b"\n")
    return b"".join(records)


def _pair(numbers: list[bytes]) -> list[Extent]:
    if len(numbers) % 2:
        raise InvalidLayerError("the map of a sparse file in the tar has an odd number of numbers")
    values = [pax.decode_decimal(number, b"the sparse map") for number in numbers]
    return [Extent(*pair) for pair in zip(values[::2], values[1::2], strict=True)]
