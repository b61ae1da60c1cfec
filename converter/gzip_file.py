"""Compresses a layer into a file by zlib, and takes the digests of both sides."""

from __future__ import annotations

import hashlib
import zlib
from typing import BinaryIO, Final

from converter.oci import Digest

_GZIP_LEVEL: Final = 3  # half the time of 6 for 4 % more bytes
_GZIP_WINDOW: Final = 31  # zlib's number for a gzip header, which then holds no time and no name
_PIECE: Final = 1 << 20


class GzipFile:
    """Compresses a tar into a file, and takes the digests of both."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Appends to the tar."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._plain.update(piece)
            self._store(self._compressor.compress(piece))

    def finish(self) -> tuple[Digest, int, Digest]:
        """Ends the file; returns its digest and size, and the digest of the tar."""
        self._store(self._compressor.flush())
        return Digest(self._packed.hexdigest()), self._size, Digest(self._plain.hexdigest())

    def _store(self, data: bytes) -> None:
        self._file.write(data)
        self._packed.update(data)
        self._size += len(data)
