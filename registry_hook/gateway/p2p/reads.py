"""Reads blobs from whichever peer works, and lets nothing through that is not proven."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final, Protocol

import structlog

from converter.oci import Digest
from p2p_seed.locate import SeedPeer
from registry_hook.gateway.p2p.client import PeerAnswer, PeerClient
from registry_hook.gateway.p2p.errors import (
    NoPeerError,
    OriginFaultError,
    PeerFaultError,
    PeerReadError,
    TooLargeError,
    WrongBytesError,
)
from registry_hook.gateway.p2p.metrics import PeerMetrics
from registry_hook.gateway.p2p.peers import SPARED_MOST_S, SeedPeers
from registry_hook.gateway.p2p.proofs import ChunkProof

# Hashed at once. More would hold up the first byte, less would cost a change of threads too often.
STEP_BYTES: Final = 1 << 20
# Below, hashing takes less time than handing it to a thread.
_HASHED_HERE_BYTES: Final = 64 << 10
_HASH_THREADS: Final = 2
# Two peers for one request: when both fail, the store is the better choice.
_MOST_PEERS: Final = 2
# How long a blob is not asked for after it failed to come, or came wrong.
REST_S: Final = 10.0
REST_AFTER_WRONG_BYTES_S: Final = 60.0
REST_TOO_LARGE_S: Final = 600.0
_RESTING_KEPT: Final = 65_536


class Wishes(Protocol):
    """Hears what ought to be done about blobs at the peers; never blocks."""

    def seed(self, digest: Digest, size_bytes: int) -> None:
        """The peer that a blob belongs to did not have it."""
        ...

    def forget(self, digest: Digest, size_bytes: int) -> None:
        """A peer sent wrong bytes for it; 0 is a length that is not known."""
        ...

    def close(self) -> None:
        """No more wishes will come."""
        ...


class PeerReads:
    """Proven bytes of blobs.

    Args:
        peers: who may be asked.
        client: asks them.
        wishes: hears of blobs that are missing or wrong.
        metrics: counts failures.
    """

    def __init__(self, peers: SeedPeers, client: PeerClient, wishes: Wishes, metrics: PeerMetrics) -> None:
        self._peers = peers
        self._client = client
        self._wishes = wishes
        self._metrics = metrics
        self._resting_until: OrderedDict[Digest, float] = OrderedDict()
        self._threads = ThreadPoolExecutor(_HASH_THREADS, thread_name_prefix="hash")
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("gateway")

    def rests(self, digest: Digest) -> bool:
        """Whether a blob is not to be asked for now, or no peer is to be asked at all."""
        return self._resting_until.get(digest, 0.0) > time.monotonic() or self._peers.all_spared()

    def rest(self, digest: Digest, for_s: float = REST_S) -> None:
        """Does not ask for a blob for a while."""
        self._resting_until[digest] = time.monotonic() + for_s
        self._resting_until.move_to_end(digest)
        if len(self._resting_until) > _RESTING_KEPT:
            self._resting_until.popitem(last=False)

    async def proven(
        self, proof: ChunkProof, start: int, end: int, patience_s: float
    ) -> AsyncGenerator[bytes, None]:
        """Whole pieces of a blob, each checked.

        Args:
            proof: of the blob.
            start: where a piece begins.
            end: where a piece ends.
            patience_s: how long the first bytes may take, whoever sends them, and further ones each time.

        Yields:
            Bytes of one or more pieces, in order, together [start, end).

        Raises:
            PeerReadError: no peer could go on.
        """
        tried: set[SeedPeer] = set()
        limit_s, position = time.monotonic() + patience_s, start
        while position < end:
            peer = self._next_peer(proof.digest, tried)
            try:
                # Another peer, asked because one broke off, goes on where that was.
                left_s = max(0.0, limit_s - time.monotonic()) if position == start else patience_s
                part = (position, end)
                async with self._client.get(peer, proof.digest, part, left_s) as answer:
                    self._note_missing(peer, answer, proof.digest, proof.size)
                    if answer.size != proof.size:
                        raise WrongBytesError(f"{answer.size} bytes long, and not {proof.size}")
                    while position < end:
                        until = proof.step(position, end, STEP_BYTES)
                        data = await answer.read(until - position, patience_s)
                        await self._check(proof, position, data)
                        position = until
                        yield data
                self._peers.succeeded(peer)
            except PeerReadError as error:
                self._failed(peer, proof.digest, proof.size, error)
                # Wrong bytes spread from peer to peer; asking another would only take that one out, too.
                same_for_all = isinstance(error, WrongBytesError | OriginFaultError)
                if same_for_all or len(tried) == _MOST_PEERS:
                    raise

    async def unproven(
        self, digest: Digest, most_bytes: int, patience_s: float
    ) -> AsyncGenerator[bytes, None]:
        """A whole blob without a chunk list: nothing of it may be used before the end came without an error.

        Args:
            digest: the blob.
            most_bytes: a longer one is not read.
            patience_s: as for `proven`.

        Yields:
            Bytes of it, in order.

        Raises:
            PeerReadError: the peer failed, at the end also because of the digest; no other is asked.
        """
        peer, whole = self._next_peer(digest, set()), sha256()
        try:
            async with self._client.get(peer, digest, None, patience_s) as answer:
                if answer.size > most_bytes:
                    raise TooLargeError(
                        f"{answer.size} bytes without a chunk list are too many to hash first"
                    )
                for start in range(0, answer.size, STEP_BYTES):
                    data = await answer.read(min(STEP_BYTES, answer.size - start), patience_s)
                    await asyncio.get_running_loop().run_in_executor(self._threads, whole.update, data)
                    yield data
                if whole.hexdigest() != digest.hex:
                    raise WrongBytesError(f"{answer.size} bytes do not have the digest {digest}")
            self._peers.succeeded(peer)
        except PeerReadError as error:
            self._failed(peer, digest, 0, error)
            raise

    async def close(self) -> None:
        """Closes all connections."""
        self._wishes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._client.close()

    def _next_peer(self, digest: Digest, tried: set[SeedPeer]) -> SeedPeer:
        peer = self._peers.choose(digest, tried)
        if peer is None:
            raise NoPeerError("no peer can be asked: all have failed a short time ago")
        tried.add(peer)
        return peer

    def _note_missing(self, peer: SeedPeer, answer: PeerAnswer, digest: Digest, size_bytes: int) -> None:
        if not answer.held and peer == self._peers.owner(digest):
            self._metrics.misses.labels(peer.grpc).inc()
            self._wishes.seed(digest, size_bytes)

    async def _check(self, proof: ChunkProof, start: int, data: bytes) -> None:
        if len(data) <= _HASHED_HERE_BYTES:
            proof.check(start, data)
        else:
            await asyncio.get_running_loop().run_in_executor(self._threads, proof.check, start, data)

    def _failed(self, peer: SeedPeer, digest: Digest, size_bytes: int, error: PeerReadError) -> None:
        kind, log = type(error).__name__.removesuffix("Error"), self._log.warning
        rest_s = REST_S
        if isinstance(error, WrongBytesError):
            rest_s, log = REST_AFTER_WRONG_BYTES_S, self._log.error
            self._peers.failed(peer, certain=True, at_least_s=SPARED_MOST_S)
            self._wishes.forget(digest, size_bytes)
        elif isinstance(error, PeerFaultError):
            self._peers.failed(peer, error.certain)
        else:
            self._peers.succeeded(peer)
            if isinstance(error, TooLargeError):
                rest_s, log = REST_TOO_LARGE_S, self._log.info
        self.rest(digest, rest_s)
        self._metrics.failures.labels(peer.grpc, kind).inc()
        log("not read from a peer", peer=peer.grpc, digest=str(digest), error=str(error))
