"""PAX extended headers: records, each `LENGTH KEY=VALUE` and a line feed, that overrule header fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from converter.errors import InvalidLayerError

SPARSE_OFFSET: Final = b"GNU.sparse.offset"
SPARSE_NUMBYTES: Final = b"GNU.sparse.numbytes"
SPARSE_MAP: Final = b"GNU.sparse.map"
_SCHILY_XATTR: Final = b"SCHILY.xattr."
_TEXT_KEYS: Final = frozenset((b"path", b"linkpath", b"uname", b"gname"))
_NANOSECONDS: Final = 10**9
_MAX_DIGITS: Final = 19  # of a 63-bit number

Records = Mapping[bytes, bytes]
Xattrs = tuple[tuple[bytes, bytes], ...]


def decode_records(data: bytes) -> dict[bytes, bytes]:
    """Reads the records of one extended header.

    The repeated keys of GNU sparse format 0.0 are joined into the one key of format 0.1. Of other keys the
    last one counts.

    Raises:
        InvalidLayerError: malformed records.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + _MAX_DIGITS + 1)
        length = data[start:space] if space >= 0 else b""
        end = start + int(length) if length.isdigit() else 0
        if not space + 1 < end <= len(data) or data[end - 1] != 0x0A:
            raise InvalidLayerError("a PAX header of the tar has a record of the wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals or b"\0" in (value if key in _TEXT_KEYS else key):
            raise InvalidLayerError(f"a PAX header of the tar has a malformed record {key[:60]!r}")
        if key in (SPARSE_OFFSET, SPARSE_NUMBYTES):
            if key != (SPARSE_OFFSET, SPARSE_NUMBYTES)[len(sparse) % 2] or b"," in value:
                raise InvalidLayerError("a PAX header of the tar has sparse records in the wrong order")
            sparse.append(value)
        else:
            records[key] = value
        start = end
    if sparse:
        records[SPARSE_MAP] = b",".join(sparse)
    return records


def decimal(records: Records, key: bytes, default: int) -> int:
    """The number of a record; `default` if there is none or an empty one, which means "as in the header".

    Raises:
        InvalidLayerError: not a decimal number of at most 63 bits.
    """
    text = records.get(key)
    return decode_decimal(text, key) if text else default


def decode_decimal(text: bytes, what: bytes) -> int:
    """Reads a decimal number, which may be negative.

    Raises:
        InvalidLayerError: anything else, or over 63 bits.
    """
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    number = int(text) if digits.isdigit() and len(digits) <= _MAX_DIGITS else 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise InvalidLayerError(
            f"{what.decode(errors='replace')} in a PAX header is not a number: {text[:40]!r}"
        )
    return number


def time(records: Records, key: bytes, default: int) -> tuple[int, int]:
    """The time of a record as whole seconds, rounded down, and nanoseconds from 0 to 999,999,999.

    Digits below the nanosecond are cut off.

    Raises:
        InvalidLayerError: not a decimal number.
    """
    text = records.get(key)
    if not text:
        return default, 0
    whole, _, fraction = text.partition(b".")
    seconds = decode_decimal(whole, key)
    if not fraction:
        return seconds, 0
    if not fraction.isdigit():
        raise InvalidLayerError(
            f"{key.decode(errors='replace')} in a PAX header is not a time: {text[:40]!r}"
        )
    nanoseconds = int(fraction[:9].ljust(9, b"0"))
    if nanoseconds and whole.startswith(b"-"):
        return seconds - 1, _NANOSECONDS - nanoseconds
    return seconds, nanoseconds


def xattrs(records: Records) -> Xattrs:
    """The extended attributes among the records, sorted by name; an empty value is a value."""
    start = len(_SCHILY_XATTR)
    return tuple(
        sorted((key[start:], value) for key, value in records.items() if key.startswith(_SCHILY_XATTR))
    )
