"""Which seed peer is asked for a blob: the one it belongs to, unless that has just failed. Pure.

A circuit breaker for each peer. A certain failure (nobody listens, the peer's own error, wrong bytes) opens
it at once, others when they come several times in a row. While it is open the blob's next peer is asked. When
the time is over one request may try; if that fails, the peer is spared twice as long as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from converter.oci import Digest
from p2p_seed.locate import SeedPeer, by_preference

STRIKES: Final = 3
SPARED_S: Final = 5.0
SPARED_MOST_S: Final = 60.0
# A trial that brings no verdict, because its client left, must not keep the peer out for ever.
_TRIAL_S: Final = 10.0


@dataclass
class _Breaker:
    strikes: int = 0
    spared_s: float = 0.0
    """How long it was spared last; 0 for a peer that works."""
    not_before_s: float = 0.0
    """No request before this time."""


class SeedPeers:
    """The seed peers of one cluster.

    Args:
        peers: all of them.
        now_s: a clock that only goes forward.
    """

    def __init__(self, peers: Sequence[SeedPeer], now_s: Callable[[], float] = time.monotonic) -> None:
        self._peers = tuple(peers)
        self._breakers = {peer.grpc: _Breaker() for peer in peers}
        self._now_s = now_s

    def choose(self, digest: Digest, but: Collection[SeedPeer] = ()) -> SeedPeer | None:
        """The peer to ask for a blob, or None if none may be asked. Who asks it reports what became of it.

        Args:
            digest: the blob.
            but: those that were tried already.
        """
        now = self._now_s()
        for peer in by_preference(self._peers, digest):
            breaker = self._breakers[peer.grpc]
            if peer in but or breaker.not_before_s > now:
                continue
            if breaker.spared_s:
                breaker.not_before_s = now + _TRIAL_S  # This is the trial; the others wait for its outcome.
            return peer
        return None

    def owner(self, digest: Digest) -> SeedPeer | None:
        """The peer the blob belongs to, whether it works or not."""
        return by_preference(self._peers, digest)[0] if self._peers else None

    def succeeded(self, peer: SeedPeer) -> None:
        """It answered: the peer is as good as ever."""
        self._breakers[peer.grpc] = _Breaker()

    def failed(self, peer: SeedPeer, certain: bool, at_least_s: float = SPARED_S) -> None:
        """It failed.

        Args:
            peer: the peer.
            certain: one time is enough.
            at_least_s: how long to spare it.
        """
        breaker = self._breakers[peer.grpc]
        breaker.strikes += 1
        if certain or breaker.spared_s or breaker.strikes >= STRIKES:
            breaker.spared_s = min(max(at_least_s, 2 * breaker.spared_s), SPARED_MOST_S)
            breaker.not_before_s = self._now_s() + breaker.spared_s

    def all_spared(self) -> bool:
        """Whether no peer may be asked now."""
        now = self._now_s()
        return all(breaker.not_before_s > now for breaker in self._breakers.values())
