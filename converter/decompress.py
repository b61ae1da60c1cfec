"""Opens the compression of a layer: plain, gzip or zstd, told apart by their first bytes.

The media type is not asked: engines do not trust it either, and mislabelled layers are common. What comes out
is the tar in blocks of bounded size, however well the input was compressed. The input is always read to its
end, so that a source which checks a digest there gets the chance.

Several gzip members or zstd frames may follow each other, as pigz, eStargz and zstd:chunked write them. Zero
bytes after the last one are padding; anything else there, and any input that ends early, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, unique
from typing import BinaryIO, Final, Protocol, cast

import zstandard
from isal import igzip_lib

from converter.errors import InvalidLayerError

BLOCK_SIZE: Final = 1 << 20  # most that one step gives
_READ_SIZE: Final = 256 << 10

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # after a first byte of 0x50 to 0x5f (RFC 8878 §3.1.2)
_ZSTD_MAX_BLOCK: Final = 128 << 10  # RFC 8878 §3.1.1.2.4
_ZSTD_BLOCK_HEADER: Final = 3
_ZSTD_RLE_BLOCK: Final = 1
_REFUSED: Final = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class Readable(Protocol):
    """The one method used of a layer's stream."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none only at the end."""


@unique
class Compression(Enum):
    """How a layer is stored."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


def decompress(stream: Readable) -> Iterator[bytes]:
    """Gives the uncompressed bytes of a layer.

    Args:
        stream: the layer as stored, read to its end.

    Returns:
        Blocks of at most `BLOCK_SIZE` bytes, none empty.

    Raises:
        InvalidLayerError: damaged or truncated input, garbage after its end, or another compression.
    """
    source = StoredInput(stream)
    match source.compression():
        case Compression.GZIP:
            return _gunzip(source)
        case Compression.ZSTD:
            return _unzstd(source)
        case Compression.NONE:
            return source.blocks()


class StoredInput:
    """The stored bytes, with a look ahead.

    Args:
        stream: read to its end.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = b""
        self._used = 0

    def compression(self) -> Compression:
        """How the layer is stored, told by its first bytes, which are not used up.

        Raises:
            InvalidLayerError: in a way that is not read.
        """
        start = self.peek(6)
        for magic, name in _REFUSED.items():
            if start.startswith(magic):
                raise InvalidLayerError(
                    f"the layer is compressed with {name}; only gzip, zstd and plain tar are read"
                )
        if start.startswith(_GZIP_MAGIC):
            return Compression.GZIP
        if start[:4] == _ZSTD_MAGIC or _is_skippable(start[:4]):
            return Compression.ZSTD
        return Compression.NONE

    def next_gzip_member(self) -> bool:
        """Whether another gzip member begins here; else the input is over, and padding behind it used up.

        Raises:
            InvalidLayerError: there is something else.
        """
        if self.at_end("gzip member"):
            return False
        if self.peek(2) != _GZIP_MAGIC:
            raise InvalidLayerError("the layer has garbage after its last gzip member")
        return True

    def peek(self, count: int) -> bytes:
        """The next bytes, without using them up; fewer than `count` only at the end."""
        while len(self._buffer) - self._used < count and (more := self._stream.read(_READ_SIZE)):
            self._buffer = self._buffer[self._used :] + more
            self._used = 0
        return self._buffer[self._used : self._used + count]

    def some(self) -> bytes:
        """Uses up what lies ready, or a new piece; empty at the end."""
        data = self._buffer[self._used :] or self._stream.read(_READ_SIZE)
        self._buffer, self._used = b"", 0
        return data

    def exactly(self, count: int, what: str) -> bytes:
        """Uses up `count` bytes.

        Raises:
            InvalidLayerError: there are not so many.
        """
        data = self.peek(count)
        if len(data) < count:
            raise InvalidLayerError(f"the layer ends inside a {what}: it is truncated")
        self._used += count
        return data

    def give_back(self, data: bytes) -> None:
        """Puts bytes in front of what comes next."""
        self._buffer, self._used = data + self._buffer[self._used :], 0

    def blocks(self) -> Iterator[bytes]:
        """The rest as it is."""
        while data := self.some():
            yield data

    def at_end(self, what: str) -> bool:
        """Whether the input is over, apart from zero padding, which is used up.

        Raises:
            InvalidLayerError: padding with something behind it.
        """
        start = self.peek(1)
        if start != b"\0":
            return not start
        for data in self.blocks():
            if data.count(0) != len(data):
                raise InvalidLayerError(f"the layer has garbage after its last {what}")
        return True


def _gunzip(source: StoredInput) -> Iterator[bytes]:
    while source.next_gzip_member():
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            data = source.some() if member.needs_input else b""
            if member.needs_input and not data:
                raise InvalidLayerError("the layer ends inside a gzip member: it is truncated")
            try:
                block = member.decompress(data, BLOCK_SIZE)
            except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub has no class
                raise InvalidLayerError(f"the layer's gzip data are damaged: {error}") from error
            if block:
                yield block
        source.give_back(member.unused_data)


def _unzstd(source: StoredInput) -> Iterator[bytes]:
    # The library only asks for `read`; its annotation wants a whole file.
    frames = cast(BinaryIO, _ZstdFrames(source))
    reader = zstandard.ZstdDecompressor().stream_reader(
        frames, read_size=_ZSTD_MAX_BLOCK + _ZSTD_BLOCK_HEADER, read_across_frames=True
    )
    try:
        while block := reader.read(BLOCK_SIZE):
            yield block
    except zstandard.ZstdError as error:
        raise InvalidLayerError(f"the layer's zstd data are damaged: {error}") from error


class _ZstdFrames:
    """Passes zstd frames on and stops behind the last one.

    The library takes truncated input for a shorter file, so someone has to know where frames end (RFC 8878
    §3.1). Only the headers of frames and blocks are looked at.
    """

    def __init__(self, source: StoredInput) -> None:
        self._source = source
        self._parts = self._walk()

    def read(self, size: int) -> bytes:
        """The next header or block; `size` is never less than that."""
        part = next(self._parts, b"")
        if len(part) > size:
            raise InvalidLayerError(f"the layer's zstd data are damaged: a block of {len(part)} bytes")
        return part

    def _walk(self) -> Iterator[bytes]:
        source = self._source
        while not source.at_end("zstd frame"):
            magic = source.exactly(4, "zstd frame")
            if _is_skippable(magic):
                self._skip(int.from_bytes(source.exactly(4, "zstd frame"), "little"))
                continue
            if magic != _ZSTD_MAGIC:
                raise InvalidLayerError("the layer has garbage after its last zstd frame")
            descriptor = source.exactly(1, "zstd frame")
            yield magic + descriptor + source.exactly(_frame_header_rest(descriptor[0]), "zstd frame")
            last = 0
            while not last:
                head = source.exactly(_ZSTD_BLOCK_HEADER, "zstd frame")
                word = int.from_bytes(head, "little")
                last, kind, length = word & 1, word >> 1 & 3, word >> 3
                yield head + source.exactly(1 if kind == _ZSTD_RLE_BLOCK else length, "zstd frame")
            if descriptor[0] & 0x04:
                yield source.exactly(4, "zstd frame")

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._source.exactly(min(length, _READ_SIZE), "zstd frame"))


def _frame_header_rest(descriptor: int) -> int:
    """Bytes of a frame header behind its descriptor (RFC 8878 §3.1.1.1)."""
    single_segment = descriptor >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    return (1 - single_segment) + dictionary_id + content_size


def _is_skippable(magic: bytes) -> bool:
    return magic[1:] == _ZSTD_SKIPPABLE and 0x50 <= magic[0] <= 0x5F
