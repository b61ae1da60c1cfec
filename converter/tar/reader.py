"""Reads the entries of a tar: headers, what extended headers change in them, and content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from converter.errors import InvalidLayerError
from converter.tar import pax, sparse
from converter.tar.header import RECORD_SIZE, ZERO_RECORD, EntryType, Header, decode_header
from converter.tar.source import ByteSource

MAX_EXTENDED_HEADER: Final = 1 << 20  # bytes of one; Go's reader has the same limit

_PAX_LOCAL: Final = b"x"
_PAX_GLOBAL: Final = b"g"
_GNU_LONG_NAME: Final = b"L"
_GNU_LONG_LINK: Final = b"K"
_GNU_SPARSE: Final = b"S"
_EXTENDED: Final = frozenset((_PAX_LOCAL, _GNU_LONG_NAME, _GNU_LONG_LINK))
_ENTRY_TYPE: Final = {
    b"0": EntryType.FILE,
    b"\0": EntryType.FILE,
    b"1": EntryType.HARDLINK,
    b"2": EntryType.SYMLINK,
    b"3": EntryType.CHARACTER_DEVICE,
    b"4": EntryType.BLOCK_DEVICE,
    b"5": EntryType.DIRECTORY,
    b"6": EntryType.FIFO,
    b"7": EntryType.FILE,  # contiguous, on systems that knew the difference
    _GNU_SPARSE: EntryType.FILE,
}
_NO_RECORDS: Final[dict[bytes, bytes]] = {}


class Entry(NamedTuple):
    """One entry. Numbers are as the archive has them, so out of range perhaps; names are raw bytes.

    Attributes:
        path: the name, not normalised, without NUL.
        type: what it is.
        mode: permission bits, and whatever else the field has.
        uid: owner.
        gid: group.
        size: bytes of content: 0 but for files; of a sparse file expanded.
        mtime_s: seconds since 1970, rounded down; may be negative.
        mtime_ns: nanoseconds, 0 to 999,999,999.
        linkname: target of a link, else without meaning.
        major: of a device.
        minor: of a device.
        xattrs: extended attributes, sorted by name.
    """

    path: bytes
    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int
    mtime_s: int
    mtime_ns: int
    linkname: bytes
    major: int
    minor: int
    xattrs: pax.Xattrs


class _Extensions:
    """What extended headers say about the entry that follows them."""

    def __init__(self) -> None:
        self.name = b""
        self.linkname = b""
        self.records = _NO_RECORDS


class TarReader:
    """Iterates over the entries of a tar once.

    While an entry is the current one, `content` gives its data; what is not taken is skipped. Behind the end
    of the archive only zeros may follow, and the source is used up to its end. An archive may end without the
    two zero records that mark its end, and in the padding of its last entry: engines accept that.

    Args:
        source: the uncompressed tar.

    Raises:
        InvalidLayerError: on iteration and from `content`: anything wrong with the archive.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._stored = 0  # bytes of the current entry's data that are not used up
        self._padding = 0
        self._size = 0
        self._extents: list[sparse.Extent] | None = None

    def __iter__(self) -> Iterator[Entry]:
        extensions: _Extensions | None = None
        while record := self._next_record():
            header = decode_header(record)
            if header.typeflag == _PAX_GLOBAL:
                # Container engines check it and then ignore it, with what stands in front of it
                # (docs/adr/0011).
                pax.decode_records(self._extended(header))
                extensions = None
                continue
            if header.typeflag in _EXTENDED:
                extensions = extensions or _Extensions()
                self._extend(extensions, header)
                continue
            yield self._entry(header, record, extensions)
            extensions = None
            if self._stored or self._padding:
                self._source.skip(self._stored)
                self._source.skip_padding(self._padding)
                self._stored = self._padding = 0
        if extensions:
            raise InvalidLayerError("the tar ends early: an extended header has no entry behind it")

    def content_offset(self) -> int | None:
        """Where the data of the current entry, a file, begin in the tar; to be asked before `content`.

        Returns:
            An offset in bytes, from which the whole content follows; None if the file is sparse, so that it
            does not lie there as it is.
        """
        return None if self._extents is not None else self._source.position

    def content(self, zeros: bytes) -> Iterator[bytes]:
        """Gives the data of the current entry, a file, in pieces; to be used up before the next entry.

        Args:
            zeros: a piece of zeros. All pieces but the last one have its length. In a sparse file a piece
            that is
                nothing but hole is this very object.
        """
        stored, padding = self._stored, self._padding
        self._stored = self._padding = 0
        if self._extents is not None:
            yield from sparse.expand(self._source, self._extents, self._size, zeros)
        else:
            length, take = len(zeros), self._source.take
            while stored > length:
                yield take(length)
                stored -= length
            if stored:
                yield take(stored)
        self._source.skip_padding(padding)

    def _next_record(self) -> bytes:
        """The next header record, or nothing at the end of the archive."""
        record = self._source.take_or_end(RECORD_SIZE)
        if record != ZERO_RECORD:
            return record
        if self._source.take_or_end(RECORD_SIZE).strip(b"\0"):
            raise InvalidLayerError("the tar has a record of zeros in front of an entry: it is damaged")
        if not self._source.only_zeros_left():
            raise InvalidLayerError("the tar has garbage behind its end")
        return b""

    def _extended(self, header: Header) -> bytes:
        """The content of an extended header."""
        if header.size > MAX_EXTENDED_HEADER:
            raise InvalidLayerError(f"an extended header of the tar has {header.size} bytes")
        data = self._source.take(header.size)
        self._source.skip_padding(-header.size % RECORD_SIZE)
        return data

    def _extend(self, extensions: _Extensions, header: Header) -> None:
        data = self._extended(header)
        if header.typeflag == _GNU_LONG_NAME:
            extensions.name = data.partition(b"\0")[0]
        elif header.typeflag == _GNU_LONG_LINK:
            extensions.linkname = data.partition(b"\0")[0]
        else:
            extensions.records = pax.decode_records(data)

    def _entry(self, header: Header, record: bytes, extensions: _Extensions | None) -> Entry:
        records = extensions.records if extensions else _NO_RECORDS
        path, linkname = header.name, header.linkname
        if extensions:
            path = extensions.name or records.get(b"path") or path
            linkname = extensions.linkname or records.get(b"linkpath") or linkname
        kind = _ENTRY_TYPE.get(header.typeflag)
        if kind is None:
            raise InvalidLayerError(
                f"the tar entry {path[:200]!r} is of the unknown type {header.typeflag!r}"
            )
        if header.typeflag == b"\0" and path.endswith(b"/"):
            kind = EntryType.DIRECTORY  # V7 had no other way to say so
        self._extents = None
        self._size = self._stored = 0
        if kind is EntryType.FILE:
            path = self._measure(header, record, records, path)
        uid, gid, mtime_s, mtime_ns = header.uid, header.gid, header.mtime, 0
        xattrs: pax.Xattrs = ()
        if records:
            uid, gid = pax.decimal(records, b"uid", uid), pax.decimal(records, b"gid", gid)
            mtime_s, mtime_ns = pax.time(records, b"mtime", mtime_s)
            xattrs = pax.xattrs(records)
        return Entry(
            path=path,
            type=kind,
            mode=header.mode,
            uid=uid,
            gid=gid,
            size=self._size,
            mtime_s=mtime_s,
            mtime_ns=mtime_ns,
            linkname=linkname,
            major=header.major,
            minor=header.minor,
            xattrs=xattrs,
        )

    def _measure(self, header: Header, record: bytes, records: pax.Records, path: bytes) -> bytes:
        """Finds out where the content of a file lies and how long it is; returns its path."""
        stored = self._size = pax.decimal(records, b"size", header.size) if records else header.size
        if stored < 0:
            raise InvalidLayerError(f"the tar entry {path[:200]!r} has the size {stored}")
        self._padding = -stored % RECORD_SIZE
        if header.typeflag == _GNU_SPARSE:
            self._size, self._extents = sparse.read_old_gnu(record, self._source)
        elif records and (form := sparse.pax_form(records)):
            path = records.get(b"GNU.sparse.name") or path
            size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize")
            self._size = pax.decode_decimal(size, b"GNU.sparse.size") if size else stored
            if form is sparse.PaxForm.DATA:
                used, self._extents = sparse.read_pax_1(self._source, stored)
                stored -= used
            else:
                self._extents = sparse.read_pax_0(records)
        if self._extents is not None:
            sparse.check_map(self._extents, self._size, stored)
        self._stored = stored
        return path
