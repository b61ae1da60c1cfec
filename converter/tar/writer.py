"""Writes the entries of a tar in the form that every unpacker reads: ustar, with PAX records where needed.

Names are written as the bytes they are. A PAX record is only written for what the header cannot say, so equal
entries give equal bytes, and most entries are one header.
"""

from __future__ import annotations

from typing import Final

from converter.errors import UnsupportedImageError
from converter.tar.header import RECORD_SIZE, EntryType
from converter.tar.paths import show
from converter.tar.reader import Entry

END: Final = bytes(2 * RECORD_SIZE)

_TYPE_FLAG: Final = {
    EntryType.FILE: b"0",
    EntryType.HARDLINK: b"1",
    EntryType.SYMLINK: b"2",
    EntryType.CHARACTER_DEVICE: b"3",
    EntryType.BLOCK_DEVICE: b"4",
    EntryType.DIRECTORY: b"5",
    EntryType.FIFO: b"6",
}
_PAX: Final = b"x"
_PAX_NAME: Final = b"PaxHeaders.0/entry"
_NAME_BYTES: Final = 100
_MAX_ID: Final = 8**7 - 1
_MAX_LONG: Final = 8**11 - 1
_NANOSECONDS: Final = 10**9


def padding(size: int) -> bytes:
    """What follows content of that many bytes."""
    return bytes(-size % RECORD_SIZE)


def encode_header(entry: Entry) -> bytes:
    """All that stands before an entry's content.

    Raises:
        UnsupportedImageError: an xattr whose name has a `=`, which no PAX record can name.
    """
    path = entry.path + (b"/" if entry.type is EntryType.DIRECTORY else b"")
    records = _records(entry, path)
    header = _header(
        path[:_NAME_BYTES], _TYPE_FLAG[entry.type], entry.mode & 0o7777,
        (entry.uid, entry.gid), entry.size, entry.mtime_s, entry.linkname[:_NAME_BYTES],
        (entry.major, entry.minor),
    )  # fmt: skip
    if not records:
        return header
    content = b"".join(_record(key, value) for key, value in records.items())
    extension = _header(_PAX_NAME, _PAX, 0o644, (0, 0), len(content), 0, b"", (0, 0))
    return extension + content + padding(len(content)) + header


def _records(entry: Entry, path: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    if len(path) > _NAME_BYTES:
        records[b"path"] = path
    if len(entry.linkname) > _NAME_BYTES:
        records[b"linkpath"] = entry.linkname
    for key, number, limit in (
        (b"uid", entry.uid, _MAX_ID), (b"gid", entry.gid, _MAX_ID), (b"size", entry.size, _MAX_LONG),
    ):  # fmt: skip
        if number > limit:
            records[key] = b"%d" % number
    if entry.mtime_ns or not 0 <= entry.mtime_s <= _MAX_LONG:
        records[b"mtime"] = _time(entry.mtime_s, entry.mtime_ns)
    for name, value in entry.xattrs:
        if b"=" in name:
            raise UnsupportedImageError(f"{show(entry.path)}: no tar can hold the attribute {show(name)}")
        records[b"SCHILY.xattr." + name] = value
    return records


def _time(seconds: int, nanoseconds: int) -> bytes:
    whole, part = divmod(abs(seconds * _NANOSECONDS + nanoseconds), _NANOSECONDS)
    sign = b"-" if seconds < 0 else b""
    return sign + b"%d" % whole + (b".%09d" % part).rstrip(b"0").rstrip(b".")


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` and a line feed, where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def _header(
    name: bytes, flag: bytes, mode: int, owner: tuple[int, int], size: int, mtime: int, link: bytes,
    device: tuple[int, int],
) -> bytes:  # fmt: skip
    def octal(value: int, width: int) -> bytes:
        # What does not fit is said by a PAX record.
        return b"%0*o\0" % (width - 1, value if 0 <= value < 8 ** (width - 1) else 0)

    header = b"".join(
        (
            name.ljust(100, b"\0"), octal(mode, 8), octal(owner[0], 8), octal(owner[1], 8),
            octal(size, 12), octal(mtime, 12), b" " * 8, flag, link.ljust(100, b"\0"),
            b"ustar\x0000", bytes(64), octal(device[0], 8), octal(device[1], 8), bytes(167),
        )
    )  # fmt: skip
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
