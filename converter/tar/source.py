"""Takes exact numbers of bytes out of a stream of blocks."""

from __future__ import annotations

from collections.abc import Iterator

from converter.errors import InvalidLayerError


class ByteSource:
    """A stream of blocks of any sizes, to be taken in pieces of any sizes.

    Args:
        blocks: the stream; no block is empty.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = b""
        self._used = 0
        self._passed = 0  # bytes of the blocks before

    @property
    def position(self) -> int:
        """Bytes that are used up."""
        return self._passed + self._used

    def take(self, count: int) -> bytes:
        """Uses up `count` bytes.

        Raises:
            InvalidLayerError: the stream ends before.
        """
        end = self._used + count
        if end <= len(self._block):  # all but every thousandth time
            data = self._block[self._used : end]
            self._used = end
            return data
        data = self._gather(count)
        if len(data) < count:
            raise InvalidLayerError(f"the tar ends early: {count - len(data)} bytes more were expected")
        return data

    def take_or_end(self, count: int) -> bytes:
        """Uses up `count` bytes, or gives none if the stream is over just here.

        Raises:
            InvalidLayerError: the stream ends in between.
        """
        if self._used == len(self._block) and not self._advance():
            return b""
        return self.take(count)

    def skip(self, count: int) -> None:
        """Uses up `count` bytes without looking at them.

        Raises:
            InvalidLayerError: the stream ends before.
        """
        while count > len(self._block) - self._used:
            count -= len(self._block) - self._used
            if not self._advance():
                raise InvalidLayerError(f"the tar ends early: {count} bytes more were expected")
        self._used += count

    def skip_padding(self, count: int) -> None:
        """Uses up at most `count` bytes: padding at the end of the stream may be missing."""
        while count > len(self._block) - self._used:
            count -= len(self._block) - self._used
            if not self._advance():
                return
        self._used += count

    def only_zeros_left(self) -> bool:
        """Uses up the rest of the stream; whether it is all zero."""
        clean = not self._block[self._used :].strip(b"\0")
        while self._advance():
            clean = clean and self._block.count(0) == len(self._block)
        return clean

    def _gather(self, count: int) -> bytes:
        pieces = []
        while count > len(self._block) - self._used:
            pieces.append(self._block[self._used :])
            count -= len(pieces[-1])
            if not self._advance():
                return b"".join(pieces)
        pieces.append(self._block[self._used : self._used + count])
        self._used += count
        return b"".join(pieces)

    def _advance(self) -> bool:
        self._passed += len(self._block)
        self._used = 0
        self._block = next(self._blocks, b"")
        return bool(self._block)
