"""A tar writer that writes what it is told, also what no sane tool writes.

Three forms of header, as they occur in layers: `ustar` (POSIX.1-1988), `pax` (POSIX.1-2001: records in an
extended header) and `gnu` (long names in entries of type L and K, numbers in base 256, sparse type S).
Nothing is checked and nothing is sorted: an entry is the bytes that its fields say. Source: GNU tar 1.34
manual, "Tar Internals".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

BLOCK = 512
END = bytes(2 * BLOCK)

Form = Literal["ustar", "pax", "gnu"]

REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHAR = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
PAX_GLOBAL = b"g"
PAX_RECORDS = b"x"
GNU_LONG_LINK = b"K"
GNU_LONG_NAME = b"L"
GNU_SPARSE = b"S"

# 2020-01-01 00:00:00 UTC: a time that no unpacking tool invents.
DEFAULT_MTIME = 1577836800


@dataclass(frozen=True)
class Entry:
    """One entry of a tar.

    Args:
        name: path as it stands in the header.
        kind: type flag, one byte.
        content: bytes after the header (for sparse forms: map and data as stored).
        mode: permission bits.
        mtime: seconds in the header field.
        link: target of a symlink or hardlink.
        device: major and minor number.
        xattrs: written as PAX records `SCHILY.xattr.<name>`, in the order given.
        records: further PAX records, written after the xattrs, in the order given. They win over the header.
        raw_records: appended to the PAX records as it is, for keys that occur twice.
        form: form of the header.
        old_sparse: real size and (offset, length) pieces of an entry of type S.
        size: value of the size field, if it is not the length of `content`.
    """

    name: bytes
    kind: bytes = REGULAR
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = DEFAULT_MTIME
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    records: Mapping[bytes, bytes] = field(default_factory=dict)
    raw_records: bytes = b""
    form: Form = "pax"
    old_sparse: tuple[int, tuple[tuple[int, int], ...]] | None = None
    size: int | None = None

    def below(self, directory: bytes) -> Entry:
        """The entry moved into `directory`, with a hardlink's target, which is a path of the archive too."""
        link = directory + b"/" + self.link if self.kind == HARDLINK else self.link
        records = {
            key: directory + b"/" + value if key in (b"path", b"GNU.sparse.name") else value
            for key, value in self.records.items()
        }
        return replace(self, name=directory + b"/" + self.name, link=link, records=records)


def encode_tar(entries: Iterable[Entry], end: bytes = END) -> bytes:
    """The archive with `entries` in the order given, closed by `end`."""
    return b"".join(encode_entry(entry) for entry in entries) + end


def encode_entry(entry: Entry) -> bytes:
    """Headers and content of one entry, padded to blocks."""
    before = _gnu_long(entry) if entry.form == "gnu" else _pax_header(entry)
    return before + _header(entry) + _old_sparse_extension(entry) + _padded(entry.content)


def pax_records(records: Mapping[bytes, bytes]) -> bytes:
    """Records `<length> <key>=<value>\\n`, where the length counts its own digits."""
    encoded = []
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        encoded.append(str(length).encode() + rest)
    return b"".join(encoded)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def _pax_header(entry: Entry) -> bytes:
    records: dict[bytes, bytes] = {}
    if entry.form == "pax":
        if len(entry.name) > 100 or not entry.name.isascii():
            records[b"path"] = entry.name
        if len(entry.link) > 100 or not entry.link.isascii():
            records[b"linkpath"] = entry.link
        if entry.mtime < 0 or entry.mtime >= 8**11:
            records[b"mtime"] = str(entry.mtime).encode()
        if entry.uid >= 8**7:
            records[b"uid"] = str(entry.uid).encode()
        if entry.gid >= 8**7:
            records[b"gid"] = str(entry.gid).encode()
    records |= {b"SCHILY.xattr." + name: value for name, value in entry.xattrs.items()} | dict(entry.records)
    content = pax_records(records) + entry.raw_records
    if not content:
        return b""
    header = Entry(
        b"PaxHeaders.0/" + entry.name[-80:].replace(b"/", b"_"), PAX_RECORDS, content, form="ustar"
    )
    return _header(header) + _padded(content)


def _gnu_long(entry: Entry) -> bytes:
    encoded = b""
    for kind, text in ((GNU_LONG_LINK, entry.link), (GNU_LONG_NAME, entry.name)):
        if len(text) > 100:
            long = Entry(b"././@LongLink", kind, text + b"\0", mode=0, mtime=0, form="ustar")
            encoded += _header(long) + _padded(long.content)
    return encoded


def _number(value: int, width: int, form: Form) -> bytes:
    """Octal, or base 256 where octal cannot say it and the form is GNU's."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if form != "gnu":
        return b"0" * (width - 1) + b"\0"  # the PAX record says it
    encoded = bytearray(value.to_bytes(width, "big", signed=True))
    encoded[0] |= 0x80
    return bytes(encoded)


def _header(entry: Entry) -> bytes:
    name, prefix = entry.name[:100], b""
    if entry.form == "ustar" and len(entry.name) > 100:
        cut = entry.name.index(b"/", len(entry.name) - 101)
        prefix, name = entry.name[:cut], entry.name[cut + 1 :]
    numbered = (entry.mode, 8), (entry.uid, 8), (entry.gid, 8)
    size = len(entry.content) if entry.size is None else entry.size
    magic = b"ustar  \0" if entry.form == "gnu" else b"ustar\x0000"
    header = b"".join(
        (
            name.ljust(100, b"\0"),
            *(_number(value, width, entry.form) for value, width in numbered),
            _number(size, 12, entry.form),
            _number(entry.mtime, 12, entry.form),
            b" " * 8,
            entry.kind,
            entry.link[:100].ljust(100, b"\0"),
            magic,
            bytes(64),
            *(_number(value, 8, entry.form) for value in entry.device),
            prefix.ljust(155, b"\0") if entry.old_sparse is None else _old_sparse_map(entry),
        )
    ).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _sparse_struct(piece: tuple[int, int]) -> bytes:
    return _number(piece[0], 12, "gnu") + _number(piece[1], 12, "gnu")


def _old_sparse_map(entry: Entry) -> bytes:
    """The header from offset 345 on: unused bytes, four pieces, the flag of an extension, the real size."""
    assert entry.old_sparse is not None
    real_size, pieces = entry.old_sparse
    first = b"".join(_sparse_struct(piece) for piece in pieces[:4]).ljust(96, b"\0")
    return bytes(41) + first + (b"\1" if len(pieces) > 4 else b"\0") + _number(real_size, 12, "gnu")


def _old_sparse_extension(entry: Entry) -> bytes:
    """Blocks of 21 further pieces each, after the header of an old GNU sparse entry."""
    rest = entry.old_sparse[1][4:] if entry.old_sparse else ()
    encoded = b""
    while rest:
        block, rest = rest[:21], rest[21:]
        pieces = b"".join(_sparse_struct(piece) for piece in block).ljust(504, b"\0")
        encoded += (pieces + (b"\1" if rest else b"\0")).ljust(BLOCK, b"\0")
    return encoded


def file(name: str | bytes, content: bytes = b"", **fields: object) -> Entry:
    """A regular file."""
    return _entry(name, REGULAR, content=content, **fields)


def directory(name: str | bytes, mode: int = 0o755, **fields: object) -> Entry:
    """A directory."""
    return _entry(name, DIRECTORY, mode=mode, **fields)


def symlink(name: str | bytes, target: str | bytes, **fields: object) -> Entry:
    """A symlink."""
    return _entry(name, SYMLINK, link=_bytes(target), mode=0o777, **fields)


def hardlink(name: str | bytes, target: str | bytes, **fields: object) -> Entry:
    """A hardlink to the path `target` of the archive."""
    return _entry(name, HARDLINK, link=_bytes(target), **fields)


def whiteout(name: str | bytes) -> Entry:
    """The marker that hides `name` of the lower layers (OCI image spec 1.1 layer.md, "Whiteouts")."""
    directory, slash, base = _bytes(name).rpartition(b"/")
    return Entry(directory + slash + b".wh." + base)


def opaque(name: str | bytes) -> Entry:
    """The marker that hides all that the lower layers have in the directory `name`."""
    return Entry(_bytes(name) + b"/.wh..wh..opq")


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _entry(name: str | bytes, kind: bytes, **fields: object) -> Entry:
    return replace(Entry(_bytes(name), kind), **fields)  # type: ignore[arg-type]  # names and types are Entry's own
