"""The peers as a source of the gateway: asked before our store, and proven before anything leaves.

Three ways, by what is asked for and what can be proven:

- A blob that is being read whole, or was a short time ago, is sent from its file (`fills.py`).
- A part of a blob with a chunk list is read for the request, whole pieces at a time (`parts.py`). Requests
  for the same part at the same time share one read.
- A blob without a chunk list is read whole and hashed before its first byte is sent, if it is not too long.

Whatever does not come in time is left to the next source, and the blob is not asked for, for a while.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import StoreError
from registry_hook.gateway.p2p.errors import PeerReadError
from registry_hook.gateway.p2p.fills import Fill, Fills
from registry_hook.gateway.p2p.metrics import PeerMetrics
from registry_hook.gateway.p2p.parts import OpenPart, Parts
from registry_hook.gateway.p2p.proofs import ChunkProof, Proofs
from registry_hook.gateway.p2p.reads import PeerReads
from registry_hook.gateway.sendfile import send_file_part
from registry_hook.gateway.sources import BrokenOffError, OpenBlob

# nydusd gives up after 5 s, and our store needs some of them if the peers are too slow.
PART_PATIENCE_S: Final = 2.0
# For the first byte of a whole blob, and for each further one. Those who want whole blobs are patient.
WHOLE_PATIENCE_S: Final = 5.0


class P2PSource:
    """Blobs at the peers of one cluster.

    Args:
        proofs: what their bytes must hash to.
        reads: gets the bytes.
        fills: whole blobs; None keeps none, and serves blobs with a chunk list only.
        metrics: counts shared reads.
    """

    def __init__(self, proofs: Proofs, reads: PeerReads, fills: Fills | None, metrics: PeerMetrics) -> None:
        self.name = "p2p"
        self.self_reliant = True
        self._proofs = proofs
        self._reads = reads
        self._fills = fills
        self._metrics = metrics
        self._parts = Parts(reads, metrics)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("gateway")

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:
        """See `Source.open`. A push is not for the peers: what they hold may be gone from the registry."""
        if asked_by_push:
            return None
        fill = self._fills.find(digest) if self._fills is not None else None
        if fill is not None and not fill.running:
            return _OpenFill(fill)
        if self._reads.rests(digest):
            return None
        try:
            proof = await self._proofs.get(digest)
        except StoreError:
            return None  # It was logged where it happened. What cannot be proven does not come from peers.
        if proof is None:
            return await self._open_unlisted(digest)
        return _OpenListed(self, proof) if proof.size else None

    async def close(self) -> None:
        """See `Source.close`."""
        await self._parts.close()
        if self._fills is not None:
            await self._fills.close()
        self._proofs.close()
        await self._reads.close()

    def fill_of(self, proof: ChunkProof, start: int, length: int) -> Fill | None:
        """The whole blob's file, if a range of it is best taken from there.

        It is for who wants all of the blob, and for who wants what is there already.
        """
        if self._fills is None:
            return None
        fill, whole = self._fills.find(proof.digest), length == proof.size
        if fill is not None and (whole or start + length <= fill.proven_bytes):
            self._metrics.shared_reads.labels("whole").inc()
            return fill
        try:
            return self._fills.start(proof) if whole else None
        except OSError as error:
            self._log.error("cannot keep a blob", digest=str(proof.digest), error=str(error))
            return None

    def part_of(self, proof: ChunkProof, start: int, length: int) -> OpenPart:
        """A part of a blob that is read for one request."""
        return self._parts.open(proof, start, length)

    def too_slow(self, digest: Digest) -> None:
        """A blob did not come in time."""
        self._reads.rest(digest)

    async def _open_unlisted(self, digest: Digest) -> OpenBlob | None:
        if self._fills is None:
            return None
        try:
            fill = self._fills.find(digest) or self._fills.start_unlisted(digest)
            if fill is None:
                return None
            async with asyncio.timeout(PART_PATIENCE_S):
                await fill.end()
        except TimeoutError:
            self.too_slow(digest)  # It goes on: who asks later gets it.
        except (PeerReadError, OSError) as error:
            self._log.warning("not read from the peers", digest=str(digest), error=str(error))
        else:
            return _OpenFill(fill)
        return None


class _OpenListed:
    """A blob with a chunk list; where it is taken from is decided by what is wanted of it."""

    def __init__(self, source: P2PSource, proof: ChunkProof) -> None:
        self.size = proof.size
        self._source = source
        self._proof = proof
        self._from: _OpenFill | OpenPart | None = None

    async def begin(self, start: int, length: int) -> bytes:
        whole = length == self.size
        if (fill := self._source.fill_of(self._proof, start, length)) is not None:
            self._from = _OpenFill(fill)
        else:
            self._from = self._source.part_of(self._proof, start, length)
        patience_s = WHOLE_PATIENCE_S if whole else PART_PATIENCE_S
        try:
            async with asyncio.timeout(patience_s):
                return await self._from.begin(start, length)
        except TimeoutError as error:
            self._source.too_slow(self._proof.digest)
            raise PeerReadError(f"nothing within {patience_s:g} s") from error

    async def send_rest(
        self, request: web.BaseRequest, response: web.StreamResponse, patience_s: float | None
    ) -> None:
        if self._from is not None:
            await self._from.send_rest(request, response, patience_s)

    def close(self) -> None:
        if self._from is not None:
            self._from.close()


class _OpenFill:
    """A blob in a file of ours, perhaps still growing."""

    def __init__(self, fill: Fill) -> None:
        self.size = fill.size
        self._fill = fill
        self._file = fill.open()
        self._start = self._end = 0

    async def begin(self, start: int, length: int) -> bytes:
        self._start, self._end = start, start + length
        await self._fill.reach(start + 1)
        return b""

    async def send_rest(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,  # noqa: ARG002
        patience_s: float | None,  # noqa: ARG002  the source keeps its own time
    ) -> None:
        position = self._start
        while position < self._end:
            try:
                async with asyncio.timeout(WHOLE_PATIENCE_S):
                    proven_bytes = await self._fill.reach(position + 1)
            except (PeerReadError, TimeoutError) as error:
                reason = str(error) or f"nothing within {WHOLE_PATIENCE_S:g} s"
                raise BrokenOffError(reason, position - self._start) from error
            length = min(proven_bytes, self._end) - position
            try:
                await send_file_part(request, self._file, position, length)
            except BrokenOffError as error:
                sent = position - self._start + error.sent_bytes
                raise BrokenOffError(str(error), sent) from error
            position += length

    def close(self) -> None:
        self._file.close()
