"""Dragonfly among the nodes: a scheduler and a seed peer on one machine, and a peer on each node."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx

from converter.oci import Descriptor
from tests.benchmarks.p2p.origin import PEER_PROXY
from tests.peers.dragonfly import Dfdaemon, Scheduler
from tests.peers.namespaces import Node
from tests.peers.server import Server

_SCHEDULER_PORT: Final = 8002
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Tuning:
    """What of Dragonfly's settings decides how fast an image spreads.

    Args:
        candidate_parents: from how many others a peer fetches a blob (scheduler, `candidateParentLimit`).
        concurrent_pieces: how many pieces a peer fetches at a time.
        announced_rates: what peers tell the scheduler of their bandwidth, in rates of the links; 0 for what
            the network card says of itself, 10 Gbit/s for the virtual ones here. It is told by
            `upload.bandwidthLimit`, which also delays each piece by the time that it takes at this limit.
        schedules: how often a peer may ask for other parents before it asks the origin (`maxScheduleCount`).

    The defaults are what was fastest here; Dragonfly's own are 3, 8, 0 and 5.
    """

    candidate_parents: int = 2
    concurrent_pieces: int = 2
    announced_rates: int = 2
    schedules: int = 100


class Swarm:
    """Scheduler, seed peer and peers; a context manager.

    Args:
        hub: where scheduler and seed peer run.
        nodes: each gets a peer, with its proxy on `PEER_PROXY`.
        upstream: what the peers' proxies ask unless a request names another.
        rate_bit_s: of the links.
        tuning: of Dragonfly.
        directory: for configuration, blobs and logs.
    """

    def __init__(
        self,
        hub: Node,
        nodes: Sequence[Node],
        upstream: str,
        rate_bit_s: int,
        tuning: Tuning,
        directory: Path,
    ) -> None:
        self._scheduler = Scheduler(directory / "scheduler", _SCHEDULER_PORT, hub.place)
        (directory / "scheduler/dynconfig.yaml").write_text(json.dumps(_dynamic(tuning)))
        settings = _settings(tuning, rate_bit_s)
        self._seed = Dfdaemon(
            directory / "seed", "seed", self._scheduler.host,
            seed=True, upstream=upstream, place=hub.place, settings=settings,
        )  # fmt: skip
        _, _, port = PEER_PROXY.partition(":")
        self._peers = [
            Dfdaemon(
                directory / f"peer{number}", f"peer{number}", self._scheduler.host, seed=False,
                upstream=upstream, place=node.place, proxy=("0.0.0.0", int(port)), settings=settings,
            )
            for number, node in enumerate(nodes)
        ]  # fmt: skip
        self._running = ExitStack()

    @property
    def cluster(self) -> dict[str, object]:
        """A table of `seeding.clusters` that describes it."""
        seed = {"grpc": self._seed.grpc, "proxy": self._seed.proxy_url}
        return {
            "name": "bench", "engine": "dragonfly", "scheduler": self._scheduler.host, "seed_peers": [seed],
        }  # fmt: skip

    def __enter__(self) -> Self:
        with ExitStack() as running:
            running.enter_context(self._scheduler)
            daemons = [self._seed, *self._peers]
            running.callback(_all, Server.kill, daemons)
            _all(Server.start, daemons)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def seed(self, blobs: Iterable[Descriptor], origin_url: str) -> None:
        """Brings blobs to the seed peer.

        Args:
            blobs: which.
            origin_url: where it fetches them from.
        """
        for blob in blobs:
            headers = {"X-Dragonfly-Registry": origin_url}
            url = f"{self._seed.proxy_url}/v2/_/blobs/{blob.digest}"
            with httpx.stream("GET", url, headers=headers, timeout=60, trust_env=False) as answer:
                for _ in answer.raise_for_status().iter_bytes():
                    pass


def _settings(tuning: Tuning, rate_bit_s: int) -> dict[str, dict[str, Any]]:
    limit_byte_s = tuning.announced_rates * rate_bit_s // 8
    return {
        "download": {"concurrentPieceCount": tuning.concurrent_pieces},
        **({"upload": {"bandwidthLimit": f"{limit_byte_s}B"}} if limit_byte_s else {}),
        # Includes the transfer of all pieces: a shorter time than the slowest pull sends peers to the origin.
        "scheduler": {"scheduleTimeout": "1h", "maxScheduleCount": tuning.schedules},
    }


def _dynamic(tuning: Tuning) -> dict[str, Any]:
    """The scheduler's dynamic configuration: its defaults, but for what is tuned."""
    return {
        "seedPeerClusterConfig": {"loadLimit": 2000},
        "schedulerClusterConfig": {
            "candidateParentLimit": tuning.candidate_parents,
            "filterParentLimit": 15,
        },
        "schedulerClusterClientConfig": {"loadLimit": 200},
    }


def _all(action: Any, servers: Iterable[Server]) -> None:
    """Does the same to many servers, some at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(action, servers))
