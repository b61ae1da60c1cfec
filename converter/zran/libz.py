"""zlib's inflate, stopping where a deflate block ends: what Python's own module does not offer.

The calls are those of zlib's manual (zlib.h 1.2.13, "Advanced Functions"). The library is the one that
Python's own `zlib` is linked with on Linux, and so is there already (docs/adr/0115). All calls that work on
data release the interpreter lock.
"""

from __future__ import annotations

import ctypes
from functools import cache
from types import TracebackType
from typing import Final, Self

WINDOW_SIZE: Final = 32768
RAW: Final = -15  # window bits: deflate data without a header
GZIP: Final = 31  # window bits: one gzip member, whose checksum is compared

_LIBRARY: Final = "libz.so.1"
_OK: Final = 0
_STREAM_END: Final = 1
_BUFFER_ERROR: Final = -5  # nothing could be done: more input or more room is needed
_NO_FLUSH: Final = 0
_STOP_AT_BLOCK: Final = 5
_AFTER_BLOCK: Final = 0x80  # in `data_type`
_LAST_BLOCK: Final = 0x40
_SHARED_BITS: Final = 0x07


class InflateError(Exception):
    """The data are no deflate data, or their checksum is wrong."""


class _Stream(ctypes.Structure):
    """`z_stream`, in its order."""

    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


@cache
def _library() -> ctypes.CDLL:
    """Loads zlib.

    Raises:
        OSError: it is not installed.
    """
    library = ctypes.CDLL(_LIBRARY)
    library.zlibVersion.restype = ctypes.c_char_p
    stream = ctypes.POINTER(_Stream)
    library.inflateInit2_.argtypes = [stream, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.inflate.argtypes = [stream, ctypes.c_int]
    library.inflateReset.argtypes = [stream]
    library.inflateEnd.argtypes = [stream]
    library.inflatePrime.argtypes = [stream, ctypes.c_int, ctypes.c_int]
    library.inflateSetDictionary.argtypes = [stream, ctypes.c_char_p, ctypes.c_uint]
    library.inflateGetDictionary.argtypes = [stream, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint)]
    return library


class Inflater:
    """One inflation, from a gzip header or from the middle of deflate data. A context manager.

    Args:
        window_bits: `RAW` or `GZIP`.
        room: bytes that one call of `inflate` gives at most.

    Raises:
        OSError: zlib is not installed.

    Attributes:
        ended: the last block is over, and with `GZIP` what follows it.
    """

    def __init__(self, window_bits: int, room: int) -> None:
        self._zlib = _library()
        self._stream = _Stream()
        self._input = b""
        self._room = room
        self._output = ctypes.create_string_buffer(room)
        self._window = ctypes.create_string_buffer(WINDOW_SIZE)
        self.ended = False
        version = self._zlib.zlibVersion()
        self._check(
            self._zlib.inflateInit2_(self._stream, window_bits, version, ctypes.sizeof(_Stream)), {_OK}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zlib.inflateEnd(self._stream)

    @property
    def pending(self) -> int:
        """Bytes of input that are not used up."""
        return int(self._stream.avail_in)

    def unused(self) -> bytes:
        """What is left of the input."""
        return self._input[len(self._input) - self.pending :]

    def feed(self, data: bytes) -> None:
        """Gives the next input; the one before must be used up."""
        if self.pending:
            raise ValueError(f"{self.pending} bytes of input are not used up")
        self._input = data  # zlib reads it later, so it has to live on
        self._stream.next_in = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        self._stream.avail_in = len(data)

    def restart(self) -> None:
        """Begins anew, with no input: for the next gzip member.

        Raises:
            InflateError: zlib does not take it.
        """
        self._check(self._zlib.inflateReset(self._stream), {_OK})
        self._stream.avail_in = 0
        self.ended = False

    def begin_inside(self, bits: int, byte: int, window: bytes) -> None:
        """Begins between two blocks. Only with `RAW`, and before anything else.

        Args:
            bits: how many high bits of the byte before the input belong to it, 0 to 7.
            byte: that byte.
            window: the data before, at most 32 KiB.

        Raises:
            InflateError: zlib does not take it.
        """
        if bits:
            self._check(self._zlib.inflatePrime(self._stream, bits, byte >> (8 - bits)), {_OK})
        if window:
            self._check(self._zlib.inflateSetDictionary(self._stream, window, len(window)), {_OK})

    def inflate(self, *, stop_at_block: bool) -> bytes:
        """Goes on until the input or the room is used up, or the data end, or a block does.

        Raises:
            InflateError: the data are damaged.
        """
        stream = self._stream
        stream.next_out = ctypes.addressof(self._output)
        stream.avail_out = self._room
        code = self._zlib.inflate(stream, _STOP_AT_BLOCK if stop_at_block else _NO_FLUSH)
        self._check(code, {_OK, _STREAM_END, _BUFFER_ERROR})
        self.ended = code == _STREAM_END
        return ctypes.string_at(self._output, self._room - stream.avail_out)

    @property
    def at_block(self) -> bool:
        """Whether the last call stopped in front of a block: behind a header, or behind another block."""
        return bool(self._stream.data_type & _AFTER_BLOCK) and not self._stream.data_type & _LAST_BLOCK

    @property
    def shared_bits(self) -> int:
        """How many high bits of the byte used last are not used yet, in front of a block."""
        return int(self._stream.data_type & _SHARED_BITS)

    def last_byte(self) -> int:
        """The byte of this input that was used last; only if any of it was."""
        return self._input[len(self._input) - self.pending - 1]

    def window(self) -> bytes:
        """The last data given, at most 32 KiB."""
        size = ctypes.c_uint()
        self._check(self._zlib.inflateGetDictionary(self._stream, self._window, ctypes.byref(size)), {_OK})
        return self._window.raw[: size.value]

    def _check(self, code: int, allowed: set[int]) -> None:
        if code not in allowed:
            message = self._stream.msg
            raise InflateError(message.decode() if message else f"zlib answers {code}")
