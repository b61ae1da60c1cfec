"""Serves what blocking calls read in pieces, such as S3: in threads, one piece ahead of the client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError, StoreError
from p2p_seed.store import BlobReader
from registry_hook.gateway.sources import BrokenOffError, OpenBlob, StalledError, TooSlowError, within

_SIZES_KEPT: Final = 65_536


class StreamSource:
    """Blobs of any store.

    Args:
        name: for logs and metrics.
        store: where the blobs are.
        threads: how many calls may block at once. Each source has threads of its own, so that one which
            hangs does not keep the others from working.
    """

    def __init__(self, name: str, store: BlobReader, threads: int) -> None:
        self.name = name
        self.self_reliant = False
        self._store = store
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._sizes: OrderedDict[Digest, int] = OrderedDict()

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:
        """See `Source.open`. A size is remembered, which saves ranges of one blob a second request each."""
        size_bytes = None if asked_by_push else self._sizes.get(digest)
        if size_bytes is None:
            loop = asyncio.get_running_loop()
            size_bytes = await loop.run_in_executor(self._threads, self._store.size, digest)
        if size_bytes is None:
            self.forget(digest)
            return None
        self._sizes[digest] = size_bytes
        self._sizes.move_to_end(digest)
        if len(self._sizes) > _SIZES_KEPT:
            self._sizes.popitem(last=False)
        return _OpenStream(self, digest, size_bytes)

    async def close(self) -> None:
        """See `Source.close`."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def forget(self, digest: Digest) -> None:
        """Forgets a size: the blob is gone."""
        self._sizes.pop(digest, None)

    def read(self, digest: Digest, start: int, length: int) -> _Pieces:
        """Prepares to read a range; nothing is read yet."""
        return _Pieces(self._store.read(digest, start, length), self._threads)


class _Pieces:
    """A generator that runs in threads, and may be closed while a thread is still in it."""

    def __init__(self, generator: Generator[bytes, None, None], threads: Executor) -> None:
        self._generator = generator
        self._threads = threads
        self._lock = threading.Lock()
        self._given_up = False

    def next(self) -> asyncio.Future[bytes]:
        """The next piece; empty at the end."""
        return asyncio.get_running_loop().run_in_executor(self._threads, self._next)

    def close(self) -> None:
        """Closes it as soon as no thread is in it any more, without waiting."""
        self._given_up = True
        with contextlib.suppress(RuntimeError):  # The source itself was closed.
            self._threads.submit(self._close)

    def _next(self) -> bytes:
        with self._lock:
            piece = next(self._generator, b"")
        if self._given_up:
            self._close()
        return piece

    def _close(self) -> None:
        # A thread that is still in it may hang there for long. It closes it itself when it comes out, so that
        # no second thread has to wait for that.
        if self._lock.acquire(blocking=False):
            try:
                self._generator.close()
            finally:
                self._lock.release()


class _OpenStream:
    def __init__(self, source: StreamSource, digest: Digest, size_bytes: int) -> None:
        self.size = size_bytes
        self._source = source
        self._digest = digest
        self._length = 0
        self._pieces: _Pieces | None = None
        self._ahead: asyncio.Future[bytes] | None = None

    async def begin(self, start: int, length: int) -> bytes:
        self._pieces = self._source.read(self._digest, start, length)
        try:
            first = await self._pieces.next()
        except BlobNotFoundError:
            self._source.forget(self._digest)
            raise
        self._length = length - len(first)
        if self._length > 0:
            self._ahead = self._pieces.next()
        return first

    async def send_rest(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        response: web.StreamResponse,
        patience_s: float | None,
    ) -> None:
        sent = 0
        while self._pieces is not None and self._ahead is not None and sent < self._length:
            try:
                piece = await within(patience_s, self._ahead)
            except TooSlowError as error:
                raise StalledError(str(error), sent) from error
            except StoreError as error:
                raise BrokenOffError(str(error), sent) from error
            if not piece:
                raise BrokenOffError(f"{self._source.name} ended {self._digest} early", sent)
            self._ahead = self._pieces.next()
            await response.write(piece)
            sent += len(piece)

    def close(self) -> None:
        if self._ahead is not None:
            # Nobody waits for the piece ahead any more; whatever became of it, the error is not ours to
            # report.
            self._ahead.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self._pieces is not None:
            self._pieces.close()
