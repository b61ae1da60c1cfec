"""Whole blobs from peers, kept for a while: read once however many clients wait.

A fill writes the bytes of one blob into a file and says how far they are proven: piece by piece where there
is a chunk list, all at once at the end where there is none. Clients are sent the proven part by sendfile
while the rest is still coming; a client that is slow or leaves holds nobody up.

The files have no names. They vanish with the process, so nothing that an earlier life left behind is ever
believed, and several gateways may share a directory without knowing of each other.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from io import FileIO
from pathlib import Path
from typing import IO, Final

import structlog

from converter.oci import Digest
from registry_hook.errors import SettingsError
from registry_hook.gateway.p2p.errors import PeerReadError
from registry_hook.gateway.p2p.metrics import PeerMetrics
from registry_hook.gateway.p2p.proofs import ChunkProof
from registry_hook.gateway.p2p.reads import PeerReads
from registry_hook.state import make_private

# One blob may not push out everything else.
LARGEST_SHARE: Final = 4
# Blobs without a chunk list are sent only when they are complete, and clients wait meanwhile.
UNLISTED_MOST_BYTES: Final = 64 << 20
# For each further megabyte. Clients that fetch whole blobs wait for minutes, but the store could be faster.
PATIENCE_S: Final = 5.0
_WRITE_THREADS: Final = 2


class Fill:
    """One blob in a nameless file, perhaps still growing.

    Args:
        digest: the blob.
        size: its length; of a blob without a chunk list, an upper bound until it is complete.
        file: empty.
    """

    def __init__(self, digest: Digest, size: int, file: IO[bytes]) -> None:
        self.digest = digest
        self.size = size
        self.proven_bytes = 0
        self.task: asyncio.Task[None] | None = None
        self._file = file
        self._complete = False
        self._error: PeerReadError | None = None
        self._moved = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether bytes are still to come."""
        return not self._complete and self._error is None

    async def reach(self, end: int) -> int:
        """Waits until the first `end` bytes of the blob are proven.

        Raises:
            PeerReadError: they will not come.
        """
        while self.proven_bytes < end:
            if self._error is not None:
                raise PeerReadError(f"reading {self.digest} from the peers failed: {self._error}")
            await self._moved.wait()
        return self.proven_bytes

    async def end(self) -> None:
        """Waits until the blob is complete.

        Raises:
            PeerReadError: it will not be.
        """
        while self.running:
            await self._moved.wait()
        if self._error is not None:
            raise PeerReadError(f"reading {self.digest} from the peers failed: {self._error}")

    def open(self) -> FileIO:
        """The file once more, with an offset of its own; it outlives the fill."""
        return FileIO(os.open(f"/proc/self/fd/{self._file.fileno()}", os.O_RDONLY | os.O_CLOEXEC))

    async def write(self, threads: Executor, start: int, data: bytes) -> None:
        """Writes bytes, which become visible by `advance` only."""
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(threads, _write_at, self._file.fileno(), start, data)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing  # The file must not be closed, and its number given to another, before.
            raise

    def advance(self, proven_bytes: int) -> None:
        """So many bytes are proven now."""
        self.proven_bytes = proven_bytes
        self._wake()

    def finish(self, size: int) -> None:
        """All of it is proven."""
        self.size = size
        self._complete = True
        self.advance(size)

    def fail(self, error: PeerReadError) -> None:
        """No more will come."""
        self._error = error
        self._wake()

    def close(self) -> None:
        """Gives the space back as soon as nobody reads it any more."""
        self._file.close()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Fills:
    """Blobs that are being read whole from peers, or were a short time ago.

    Args:
        directory: where the nameless files are; made if it is not there.
        most_bytes: what they may occupy together, beside those that are pushed out while they are sent.
        reads: where the bytes come from.
        metrics: shows the space.

    Raises:
        SettingsError: the directory cannot be used.
    """

    def __init__(self, directory: Path, most_bytes: int, reads: PeerReads, metrics: PeerMetrics) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._reads = reads
        self._metrics = metrics
        self._used_bytes = 0
        self._fills: OrderedDict[Digest, Fill] = OrderedDict()
        self._threads = ThreadPoolExecutor(_WRITE_THREADS, thread_name_prefix="fill")
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("gateway")
        try:
            make_private(directory.parent)  # The state directory, unless another one was chosen.
            make_private(directory)
            self._new_file().close()
        except OSError as error:
            raise SettingsError(
                f"gateway.cache_dir: cannot keep files in {directory}: {error.strerror}"
            ) from error

    def find(self, digest: Digest) -> Fill | None:
        """What there is of a blob, the most recently wanted being pushed out last."""
        fill = self._fills.get(digest)
        if fill is not None:
            self._fills.move_to_end(digest)
        return fill

    def start(self, proof: ChunkProof) -> Fill | None:
        """Begins to read a blob with a chunk list; None if there is no room for it.

        Raises:
            OSError: no file can be made.
        """
        return self._start(proof.digest, proof.size, lambda fill: self._run_listed(fill, proof))

    def start_unlisted(self, digest: Digest) -> Fill | None:
        """Begins to read a blob without a chunk list; None if there is no room for it.

        Raises:
            OSError: no file can be made.
        """
        most_bytes = min(UNLISTED_MOST_BYTES, self._most_bytes // LARGEST_SHARE)
        return self._start(digest, most_bytes, self._run_unlisted)

    async def close(self) -> None:
        """Ends what is running, and gives all space back."""
        tasks = [fill.task for fill in self._fills.values() if fill.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for fill in self._fills.values():
            fill.close()
        self._fills.clear()

    def _start(self, digest: Digest, size: int, run: Callable[[Fill], Awaitable[None]]) -> Fill | None:
        if not self._make_room(size):
            return None
        fill = Fill(digest, size, self._new_file())
        self._fills[digest] = fill
        fill.task = asyncio.create_task(self._guard(fill, run(fill)))
        return fill

    async def _guard(self, fill: Fill, run: Awaitable[None]) -> None:
        """Runs a fill to its end; whatever that is, those who wait are told."""
        try:
            await run
        except PeerReadError as error:
            self._drop(fill, error)
        except OSError as error:
            self._log.error("cannot keep a blob", directory=str(self._directory), error=str(error))
            self._drop(fill, PeerReadError(f"cannot keep it: {error.strerror}"))
        except BaseException:
            self._drop(fill, PeerReadError("it was given up"))
            raise

    async def _run_listed(self, fill: Fill, proof: ChunkProof) -> None:
        async with aclosing(self._reads.proven(proof, 0, proof.size, PATIENCE_S)) as pieces:
            async for data in pieces:
                await fill.write(self._threads, fill.proven_bytes, data)
                fill.advance(fill.proven_bytes + len(data))
        fill.finish(proof.size)

    async def _run_unlisted(self, fill: Fill) -> None:
        position = 0
        async with aclosing(self._reads.unproven(fill.digest, fill.size, PATIENCE_S)) as pieces:
            async for data in pieces:
                await fill.write(self._threads, position, data)
                position += len(data)
        # Here the digest was right; before, nothing was shown to anybody.
        self._account(position - fill.size)
        fill.finish(position)

    def _make_room(self, size: int) -> bool:
        """Pushes out complete blobs, the longest unwanted first, until there is room."""
        if size > self._most_bytes // LARGEST_SHARE:
            return False
        for digest in [fill.digest for fill in self._fills.values() if not fill.running]:
            if self._used_bytes + size <= self._most_bytes:
                break
            fill = self._fills.pop(digest)
            self._account(-fill.size)
            fill.close()
        if self._used_bytes + size > self._most_bytes:
            return False
        self._account(size)
        return True

    def _drop(self, fill: Fill, error: PeerReadError) -> None:
        fill.fail(error)
        if self._fills.get(fill.digest) is fill:
            del self._fills[fill.digest]
            self._account(-fill.size)
        fill.close()

    def _account(self, change_bytes: int) -> None:
        self._used_bytes += change_bytes
        self._metrics.cached_bytes.set(self._used_bytes)

    def _new_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._directory, buffering=0)


def _write_at(descriptor: int, start: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written
