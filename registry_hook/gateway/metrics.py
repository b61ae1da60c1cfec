"""The gateway's figures for Prometheus, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What one listener for blobs counts.

    Args:
        prefix: of all names.
        registry: where they are shown; that of the process.
    """

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            f"{prefix}_requests",
            "Requests for blobs, by method and status.",
            ["method", "status"],
            registry=registry,
        )
        self.bytes = Counter(
            f"{prefix}_bytes",
            "Bytes of blobs sent, by the source they came from.",
            ["source"],
            registry=registry,
        )
        self.source_errors = Counter(
            f"{prefix}_source_errors",
            "Requests in which a source failed, by source.",
            ["source"],
            registry=registry,
        )
        self.cut = Counter(
            f"{prefix}_answers_cut",
            "Answers broken off because no source could go on.",
            registry=registry,
        )
        self.running = Gauge(f"{prefix}_answers_running", "Answers under way.", registry=registry)
        self.waiting = Gauge(
            f"{prefix}_requests_waiting",
            "Requests that wait until fewer answers are under way.",
            registry=registry,
        )
        self.seconds = Histogram(
            f"{prefix}_answer_seconds",
            "Time from the request's header to the last byte handed to the network.",
            registry=registry,
        )


def exposition(registry: CollectorRegistry) -> bytes:
    """All figures in Prometheus' text format."""
    return generate_latest(registry)
