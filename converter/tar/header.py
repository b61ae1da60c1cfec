"""The 512-byte header record of a tar entry, in all its historical forms.

::

    offset  0 name[100]   100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]
          156 typeflag    157 linkname[100]        257 magic[6]  263 version[2]  265 uname[32]  297 gname[32]
          329 devmajor[8]  337 devminor[8]         345 prefix[155]

V7 ends at 257. GNU archives use the place of `prefix` for times and the sparse map, star archives for a
prefix of 131 bytes and times. Numbers are octal text, or big-endian binary when the top bit of the field is
set.
"""

from __future__ import annotations

import stat
from enum import Enum, IntEnum, unique
from struct import Struct
from typing import Final, NamedTuple

from converter.errors import InvalidLayerError

RECORD_SIZE: Final = 512
ZERO_RECORD: Final = bytes(RECORD_SIZE)
_FIELDS: Final = Struct("100s8s8s8s12s12s8sc100s6s2s64x8s8s155s12x")
_INT64_MAX: Final = (1 << 63) - 1
_HIGH_BYTES: Final = bytes(range(128, 256))

if _FIELDS.size != RECORD_SIZE:
    raise AssertionError(f"the fields of a tar header sum up to {_FIELDS.size} bytes")


@unique
class EntryType(IntEnum):
    """What an entry is: the file type bits of st_mode, but 0 for a hard link, which can mean any type."""

    HARDLINK = 0
    FILE = stat.S_IFREG
    SYMLINK = stat.S_IFLNK
    CHARACTER_DEVICE = stat.S_IFCHR
    BLOCK_DEVICE = stat.S_IFBLK
    DIRECTORY = stat.S_IFDIR
    FIFO = stat.S_IFIFO


@unique
class Format(Enum):
    """Which family a header belongs to, by its magic."""

    V7 = 0
    USTAR = 1
    GNU = 2
    STAR = 3


class Header(NamedTuple):
    """A header record as it stands, with nothing applied from extended headers.

    `typeflag` is one byte; `mtime` is in seconds and may be negative; `size` is that of the data that follow,
    for the types that have data.
    """

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    typeflag: bytes
    linkname: bytes
    major: int
    minor: int
    format: Format


def decode_header(record: bytes) -> Header:
    """Reads a header record.

    Args:
        record: 512 bytes, not all zero.

    Raises:
        InvalidLayerError: a wrong checksum, or a field that is not a number.
    """
    (
        name,
        mode,
        uid,
        gid,
        size,
        mtime,
        checksum,
        typeflag,
        linkname,
        magic,
        version,
        major,
        minor,
        prefix,
    ) = _FIELDS.unpack(record)
    if not _sums_up(record, checksum):
        raise InvalidLayerError(f"the checksum of a tar header is wrong (entry {_text(name)[:60]!r})")
    path = _text(name)
    family = _format(magic, version, record)
    if family is not Format.V7:
        ahead = _prefix(family, prefix)
        if ahead:
            path = ahead + b"/" + path
    length = decode_number(size, "size")
    if length < 0:
        raise InvalidLayerError(f"the tar entry {path[:60]!r} has the size {length}")
    has_device = family is not Format.V7 and typeflag in b"34"
    return Header(
        path,
        decode_number(mode, "mode"),
        decode_number(uid, "uid"),
        decode_number(gid, "gid"),
        length,
        decode_number(mtime, "mtime"),
        typeflag,
        _text(linkname),
        decode_number(major, "devmajor") if has_device else 0,
        decode_number(minor, "devminor") if has_device else 0,
        family,
    )


def decode_number(field: bytes, what: str) -> int:
    """Reads a numeric field: octal text with spaces or zeros around it, or base 256.

    Raises:
        InvalidLayerError: neither, or over 63 bits.
    """
    if field[0] & 0x80:
        # The first bit is the mark of this form; the others are one number in two's complement.
        bits = 8 * len(field) - 1
        number = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if number >> (bits - 1):
            number -= 1 << bits
        if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
            raise InvalidLayerError(f"the {what} of a tar header has more than 63 bits")
        return number
    digits = field.strip(b" \0")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass
    elif not digits:
        return 0
    elif (cut := _text(digits)).isdigit():  # some writers leave rubbish behind the terminating zero
        return decode_number(cut, what)
    raise InvalidLayerError(f"the {what} of a tar header is not an octal number: {field!r}")


def _format(magic: bytes, version: bytes, record: bytes) -> Format:
    if magic == b"ustar\0":
        return Format.STAR if record[508:512] == b"tar\0" else Format.USTAR
    return Format.GNU if magic == b"ustar " and version == b" \0" else Format.V7


def _prefix(family: Format, field: bytes) -> bytes:
    if family is Format.USTAR:
        return _text(field)
    if family is Format.STAR:
        return _text(field[:131])
    # GNU has access and change time here. Go before 1.8 wrote a prefix all the same now and then, and images
    # of that time are still about; Go's reader of today tells the two apart in this way.
    if not field[0] and not field[12]:
        return b""
    try:
        for time in (field[:12], field[12:24]):
            if time[0]:
                decode_number(time, "time")
    except InvalidLayerError:
        text = _text(field)
        return text if text.isascii() else b""
    return b""


def _sums_up(record: bytes, field: bytes) -> bool:
    """Whether the bytes add up to the checksum, which counts its own field as spaces."""
    stored = decode_number(field, "checksum")
    total = sum(record) - sum(field) + 8 * 0x20
    if stored == total:
        return True
    # Old tars on some machines added signed bytes.
    high = RECORD_SIZE - len(record.translate(None, _HIGH_BYTES))
    high -= len(field) - len(field.translate(None, _HIGH_BYTES))
    return stored == total - 256 * high


def _text(field: bytes) -> bytes:
    end = field.find(0)
    return field if end < 0 else field[:end]
