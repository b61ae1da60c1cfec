"""What is counted about peers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class PeerMetrics:
    """Figures of one process.

    Args:
        registry: where they are shown; that of the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "dragonhook_gateway_peer_failures",
            "Reads from a seed peer that failed, by peer and kind; WrongBytes is an alarm.",
            ["peer", "kind"],
            registry=registry,
        )
        self.misses = Counter(
            "dragonhook_gateway_peer_misses",
            "Reads of blobs that the seed peer they belong to did not hold, so that it had to fetch them.",
            ["peer"],
            registry=registry,
        )
        self.shared_reads = Counter(
            "dragonhook_gateway_shared_reads",
            "Requests that were answered by what another one had begun to read from a peer, by kind.",
            ["kind"],
            registry=registry,
        )
        self.cached_bytes = Gauge(
            "dragonhook_gateway_cached_bytes",
            "Space set aside for whole blobs from peers.",
            registry=registry,
        )
