"""The gateway's figures for Prometheus, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What one gateway process counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dragonhook_gateway_requests",
            "Requests for blobs, by method and status.",
            ["method", "status"],
            registry=self._registry,
        )
        self.bytes = Counter(
            "dragonhook_gateway_bytes",
            "Bytes of blobs sent, by the source they came from.",
            ["source"],
            registry=self._registry,
        )
        self.source_errors = Counter(
            "dragonhook_gateway_source_errors",
            "Requests in which a source failed, by source.",
            ["source"],
            registry=self._registry,
        )
        self.cut = Counter(
            "dragonhook_gateway_answers_cut",
            "Answers broken off because no source could go on.",
            registry=self._registry,
        )
        self.running = Gauge(
            "dragonhook_gateway_answers_running", "Answers under way.", registry=self._registry
        )
        self.waiting = Gauge(
            "dragonhook_gateway_requests_waiting",
            "Requests that wait until fewer answers are under way.",
            registry=self._registry,
        )
        self.seconds = Histogram(
            "dragonhook_gateway_answer_seconds",
            "Time from the request's header to the last byte handed to the network.",
            registry=self._registry,
        )

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
