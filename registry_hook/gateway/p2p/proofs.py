"""What the bytes of a blob must hash to, piece by piece; and a bounded memory of that for many blobs."""

from __future__ import annotations

import asyncio
import io
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final

import numpy as np
import structlog

from converter.chunk_manifest import ChunkListReader, InvalidChunkListError
from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError, StoreError, StoreUnavailableError
from p2p_seed.store.chunk_lists import ChunkLists
from registry_hook.gateway.p2p.errors import WrongBytesError

# Lists of 14,000 blobs of 100 MiB in pieces of 1 MiB, or of the 100 largest that were ever seen.
MEMORY_BYTES: Final = 64 << 20
# A list may be written any time, after the blob was seeded.
ABSENT_S: Final = 10.0
# A store that fails is left alone for a while; what it has given is remembered.
FAILED_S: Final = 5.0
PATIENCE_S: Final = 1.0
_ABSENT_KEPT: Final = 65_536
_THREADS: Final = 4


class ChunkProof:
    """The chunk list of one blob, ready to check bytes with.

    Args:
        digest: the blob.
        content: its chunk list.

    Raises:
        InvalidChunkListError: malformed, or another blob's.
    """

    def __init__(self, digest: Digest, content: bytes) -> None:
        reader = ChunkListReader(io.BytesIO(content))
        if reader.blob != digest:
            raise InvalidChunkListError(f"the chunk list of {digest} is that of {reader.blob}")
        lengths, hashes = [np.zeros(0, np.int64)], []
        for records in reader:
            lengths.append(records.lengths)
            hashes.append(records.sha256s)
        self.digest = digest
        self.size: int = reader.blob_size
        every = np.concatenate(lengths)
        self.longest = int(every.max(initial=0))
        """Length of the longest piece."""
        self._ends = np.cumsum(every)
        self._hashes = b"".join(hashes)

    @property
    def memory_bytes(self) -> int:
        """What it occupies, about."""
        return len(self._hashes) + self._ends.nbytes + 200

    def around(self, start: int, end: int) -> tuple[int, int]:
        """The smallest half-open range of whole pieces that covers [start, end), which is not empty."""
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, end, side="left"))
        return self._start_of(first), int(self._ends[last])

    def step(self, start: int, end: int, most_bytes: int) -> int:
        """How far to read at once from `start`, where a piece begins.

        Returns:
            The end of the last piece that ends within `most_bytes`, or of the first one if it is longer; not
            behind `end`, where a piece ends.
        """
        last = int(np.searchsorted(self._ends, min(start + most_bytes, end), side="right")) - 1
        first = int(np.searchsorted(self._ends, start, side="right"))
        return int(self._ends[max(first, last)])

    def check(self, start: int, data: bytes) -> None:
        """Checks bytes that begin and end where pieces do.

        Raises:
            WrongBytesError: a piece has another hash.
        """
        view, end = memoryview(data), start + len(data)
        number, position = int(np.searchsorted(self._ends, start, side="right")), start
        while position < end:
            piece_end = int(self._ends[number])
            found = sha256(view[position - start : piece_end - start]).digest()
            if piece_end > end or found != self._hashes[32 * number : 32 * number + 32]:
                raise WrongBytesError(f"wrong bytes in [{position}, {piece_end}) of {self.digest}")
            number, position = number + 1, piece_end

    def _start_of(self, number: int) -> int:
        return int(self._ends[number - 1]) if number else 0


class Proofs:
    """Chunk lists, fetched once and remembered while there is room.

    Args:
        lists: where they rest.
        memory_bytes: what the remembered ones may occupy.
    """

    def __init__(self, lists: ChunkLists, memory_bytes: int = MEMORY_BYTES) -> None:
        self._lists = lists
        self._memory_bytes = memory_bytes
        self._used_bytes = 0
        self._known: OrderedDict[Digest, ChunkProof] = OrderedDict()
        self._absent_until: OrderedDict[Digest, float] = OrderedDict()
        self._failing_until = 0.0
        self._loading: dict[Digest, asyncio.Task[ChunkProof | None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="chunk-lists")
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("gateway")

    async def get(self, digest: Digest) -> ChunkProof | None:
        """The chunk list of a blob; None if it has none.

        Raises:
            StoreUnavailableError: it cannot be told now, or not in time.
        """
        if (proof := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return proof
        now = time.monotonic()
        if self._absent_until.get(digest, 0.0) > now:
            return None
        if self._failing_until > now:
            raise StoreUnavailableError("chunk lists could not be read a moment ago")
        loading = self._loading.get(digest)
        if loading is None:
            loading = self._loading[digest] = asyncio.create_task(self._load(digest))
            loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # It goes on when nobody waits any more, and then is there for the next request.
            return await asyncio.wait_for(asyncio.shield(loading), PATIENCE_S)
        except TimeoutError as error:
            raise StoreUnavailableError(f"no chunk list of {digest} within {PATIENCE_S} s") from error

    def close(self) -> None:
        """Gives the threads back, without waiting for those in use."""
        for loading in self._loading.values():
            loading.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, digest: Digest) -> ChunkProof | None:
        loop = asyncio.get_running_loop()
        try:
            proof = await loop.run_in_executor(self._threads, self._read, digest)
        except StoreError as error:
            self._failing_until = time.monotonic() + FAILED_S
            self._log.warning("chunk lists cannot be read", digest=str(digest), error=str(error))
            raise StoreUnavailableError(str(error)) from error
        finally:
            del self._loading[digest]
        if proof is None:
            self._absent_until[digest] = time.monotonic() + ABSENT_S
            self._absent_until.move_to_end(digest)
            if len(self._absent_until) > _ABSENT_KEPT:
                self._absent_until.popitem(last=False)
        else:
            self._keep(digest, proof)
        return proof

    def _read(self, digest: Digest) -> ChunkProof | None:
        try:
            content = self._lists.get(digest)
            return ChunkProof(digest, content) if content is not None else None
        except (InvalidChunkListError, CorruptBlobError) as error:
            # Without a list less comes from the peers, and nothing that is wrong.
            self._log.warning("chunk list ignored", digest=str(digest), error=str(error))
            return None

    def _keep(self, digest: Digest, proof: ChunkProof) -> None:
        self._known[digest] = proof
        self._used_bytes += proof.memory_bytes
        while self._used_bytes > self._memory_bytes and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._used_bytes -= oldest.memory_bytes
