"""Reads a layer in a thread of its own: what produces the bytes and what uses them run at the same time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from types import TracebackType
from typing import Final, Self

from converter.oci import Digest

_BLOCKS_AHEAD: Final = 8
_JOIN_SIZE: Final = 1 << 20


class ReadAhead:
    """Runs an iterator over blocks in a thread and hashes what it gives.

    A context manager: on leaving it the thread is ended, at the latest when the read it is in returns.

    Args:
        open_blocks: gives the iterator; called in the thread.

    Raises:
        Exception: whatever the iterator raises is raised by the iteration over this object.
    """

    def __init__(self, open_blocks: Callable[[], Iterator[bytes]]) -> None:
        self._open_blocks = open_blocks
        self._queue: Queue[bytes | BaseException | None] = Queue(_BLOCKS_AHEAD)
        self._hash = hashlib.sha256()
        self._stop = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="read-layer")
        self.size = 0  # bytes handed out

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        while not self._over:
            self._over = not isinstance(self._queue.get(), bytes)
        self._thread.join()

    def __iter__(self) -> Iterator[bytes]:
        """Gives the blocks, none empty, in order."""
        while not self._over:
            item = self._queue.get()
            if isinstance(item, bytes):
                self.size += len(item)
                yield item
                continue
            self._over = True
            if item is not None:
                raise item

    def digest(self) -> Digest:
        """SHA-256 of all blocks, once the iteration is over."""
        if not self._over:
            raise RuntimeError("the digest is not known before everything is read")
        return Digest(self._hash.hexdigest())

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for block in _joined(self._open_blocks()):
                if self._stop.is_set():
                    break
                self._hash.update(block)
                self._queue.put(block)
        except BaseException as error:
            end = error
        self._queue.put(end)


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Joins small blocks, because each one costs a change of threads."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= _JOIN_SIZE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
