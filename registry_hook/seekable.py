"""What raw files of a known size have in common that are only read."""

from __future__ import annotations

import io


class SeekableFile(io.RawIOBase):
    """A raw file of a known size with a position; a subclass reads at it.

    Args:
        size: of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position; it may lie behind the end, where there is nothing to read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position
