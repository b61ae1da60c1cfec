"""Parts of blobs with a chunk list, read from peers for those who ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import web

from converter.oci import Digest
from registry_hook.gateway.p2p.errors import NoPeerError, PeerReadError
from registry_hook.gateway.p2p.metrics import PeerMetrics
from registry_hook.gateway.p2p.proofs import ChunkProof
from registry_hook.gateway.p2p.reads import STEP_BYTES, PeerReads
from registry_hook.gateway.sources import BrokenOffError

# A part up to this length is read into memory, and shared by those who want it at the same time; longer ones
# are passed on step by step.
SHARED_MOST_BYTES: Final = 4 << 20
# All parts in memory, those included that slow clients are still taking.
MEMORY_BYTES: Final = 256 << 20
# For each step of a part. What follows the first one can take longer: nydusd's parts are shorter.
PATIENCE_S: Final = 5.0


class Parts:
    """Parts of blobs on their way through memory.

    Args:
        reads: gets the bytes.
        metrics: counts shared reads.
        memory_bytes: what all of them may occupy; beyond that the next source is asked.
    """

    def __init__(self, reads: PeerReads, metrics: PeerMetrics, memory_bytes: int = MEMORY_BYTES) -> None:
        self._reads = reads
        self._metrics = metrics
        self._free_bytes = memory_bytes
        self._running: dict[tuple[Digest, int, int], asyncio.Task[bytes]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, proof: ChunkProof, start: int, length: int) -> OpenPart:
        """Prepares to read a part."""
        return OpenPart(self, proof, *proof.around(start, start + length))

    def take(self, memory_bytes: int) -> None:
        """Sets memory aside.

        Raises:
            NoPeerError: there is none.
        """
        if memory_bytes > self._free_bytes:
            raise NoPeerError("too much is being read from peers; the next source is asked")
        self._free_bytes -= memory_bytes

    def give_back(self, memory_bytes: int) -> None:
        """Undoes `take`."""
        self._free_bytes += memory_bytes

    async def read(self, proof: ChunkProof, start: int, end: int) -> bytes:
        """Whole pieces, all at once; those who want the same meanwhile get the same."""
        key = (proof.digest, start, end)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._read(proof, start, end))
            task.add_done_callback(lambda done: self._done(key, done))
        else:
            self._metrics.shared_reads.labels("part").inc()
        # One who leaves must not take it away from the others.
        return await asyncio.shield(task)

    def stream(self, proof: ChunkProof, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Whole pieces, step by step."""
        return self._reads.proven(proof, start, end, PATIENCE_S)

    def stop(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Gives up a stream, without waiting for the end of its connection."""
        closing = asyncio.create_task(pieces.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Gives up everything."""
        running = [*self._running.values(), *self._closing]
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _read(self, proof: ChunkProof, start: int, end: int) -> bytes:
        pieces = self._reads.proven(proof, start, end, PATIENCE_S)
        return b"".join([data async for data in pieces])

    def _done(self, key: tuple[Digest, int, int], task: asyncio.Task[bytes]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # Known to those who waited, if anybody did.


class OpenPart:
    """A part of one blob for one request.

    Args:
        parts: what it belongs to.
        proof: of the blob.
        first: where the first piece begins.
        last: where the last piece ends.
    """

    def __init__(self, parts: Parts, proof: ChunkProof, first: int, last: int) -> None:
        self.size = proof.size
        self._parts = parts
        self._proof = proof
        self._first, self._last = first, last
        self._taken_bytes = 0
        self._missing_bytes = 0
        self._pieces: AsyncGenerator[bytes, None] | None = None

    async def begin(self, start: int, length: int) -> bytes:
        """See `OpenBlob.begin`."""
        part_bytes, skip = self._last - self._first, start - self._first
        if part_bytes <= SHARED_MOST_BYTES:
            self._take(part_bytes)
            data = await self._parts.read(self._proof, self._first, self._last)
            return data[skip : skip + length]
        # One step at a time, or one piece where that is longer.
        self._take(max(STEP_BYTES, self._proof.longest))
        self._pieces = self._parts.stream(self._proof, self._first, self._last)
        first = await anext(self._pieces)
        first = first[skip : skip + length]
        self._missing_bytes = length - len(first)
        return first

    async def send_rest(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        response: web.StreamResponse,
        patience_s: float | None,  # noqa: ARG002  the source keeps its own time
    ) -> None:
        """See `OpenBlob.send_rest`."""
        sent = 0
        while self._pieces is not None and sent < self._missing_bytes:
            try:
                data = await anext(self._pieces)
            except PeerReadError as error:
                raise BrokenOffError(str(error), sent) from error
            data = data[: self._missing_bytes - sent]
            await response.write(data)
            sent += len(data)

    def close(self) -> None:
        """See `OpenBlob.close`."""
        self._parts.give_back(self._taken_bytes)
        self._taken_bytes = 0
        if self._pieces is not None:
            self._parts.stop(self._pieces)

    def _take(self, memory_bytes: int) -> None:
        self._parts.take(memory_bytes)
        self._taken_bytes = memory_bytes
