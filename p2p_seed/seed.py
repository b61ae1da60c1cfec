"""Seeds the blobs of an image to every cluster, and reports honestly what is seeded and what is not.

Seeding never holds back a tag (design decision 6): the caller publishes first, and what this reports as not
seeded is tried again later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

from converter.oci import Descriptor
from p2p_seed.errors import EngineError
from p2p_seed.supernode import SeedEngine, SeedOutcome


@dataclass(frozen=True, slots=True)
class ClusterOutcome:
    """What became of one blob in one cluster."""

    cluster: str
    outcome: SeedOutcome


@dataclass(frozen=True, slots=True)
class SeedProgress:
    """How far one blob is in one cluster.

    Args:
        cluster: where it is being seeded.
        blob: what is being seeded.
        done_bytes: how much of it has arrived, from 0 to its size. The proof comes after the last byte.
        outcome: set in the last report about the blob.
    """

    cluster: str
    blob: Descriptor
    done_bytes: int = 0
    outcome: SeedOutcome | None = None


OnSeedProgress = Callable[[SeedProgress], None]


def nobody_hears(_: SeedProgress) -> None:
    """The progress of somebody who does not want to hear of it."""


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The outcomes of all blobs of one image, cluster by cluster, in the order they were given.

    Args:
        clusters: the names of all clusters, also of an image without blobs.
        outcomes: one for each cluster and blob.
    """

    clusters: tuple[str, ...]
    outcomes: tuple[ClusterOutcome, ...]

    @property
    def seeded(self) -> bool:
        """Whether every blob is proven to be in every cluster. An image without blobs needs no seeding."""
        return not self.missing

    @property
    def missing(self) -> tuple[ClusterOutcome, ...]:
        """What is not seeded."""
        return tuple(entry for entry in self.outcomes if not entry.outcome.seeded)

    @property
    def summary(self) -> str:
        """One line for people: counts and, when something is missing, the first reason."""
        names = ", ".join(self.clusters)
        missing = self.missing
        if not missing:
            return f"{len(self.outcomes) // max(1, len(self.clusters))} blobs seeded by {names}"
        count = f"{len(self.outcomes) - len(missing)} of {len(self.outcomes)} blobs seeded"
        return f"{count}; {missing[0].cluster}: {missing[0].outcome.reason}"


def seed_blobs(
    engines: Mapping[str, SeedEngine],
    blobs: Iterable[Descriptor],
    parallel: int = 1,
    on_progress: OnSeedProgress = nobody_hears,
) -> SeedReport:
    """Seeds each blob in each cluster; one that fails keeps neither the others nor other clusters from it.

    Args:
        engines: the engine of each cluster, by the cluster's name.
        blobs: what to seed, the most wanted first: it is begun first.
        parallel: how many blobs may be on their way in one cluster at the same time.
        on_progress: hears of each blob, one call at a time but from several threads. What it raises ends the
            whole: nothing new is begun, what is under way stops at its next byte, and the caller gets it.

    Returns:
        One outcome for each cluster and blob. An error of the engine is an outcome too, with its message as
        the reason.
    """
    wanted = list(blobs)
    hearing = _Hearing(on_progress)
    with ExitStack() as pools:
        running: list[Future[ClusterOutcome]] = []
        for cluster, engine in engines.items():
            pool = pools.enter_context(ThreadPoolExecutor(max(1, parallel), f"seed-{cluster}"))
            running += [pool.submit(_seed_one, cluster, engine, blob, hearing) for blob in wanted]
        try:
            outcomes = tuple(future.result() for future in running)
        except BaseException as error:
            hearing.stop(error)
            for future in running:
                future.cancel()
            raise
    return SeedReport(tuple(engines), outcomes)


class _Hearing:
    """Passes reports on, one at a time, until one of them is answered by an exception."""

    def __init__(self, on_progress: OnSeedProgress) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._stopped: BaseException | None = None

    def report(self, progress: SeedProgress) -> None:
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            try:
                self._on_progress(progress)
            except BaseException as error:
                self._stopped = error
                raise

    def stop(self, error: BaseException) -> None:
        with self._lock:
            self._stopped = self._stopped or error


def _seed_one(cluster: str, engine: SeedEngine, blob: Descriptor, hearing: _Hearing) -> ClusterOutcome:
    begun = SeedProgress(cluster, blob)
    done = 0

    def on_bytes(done_bytes: int) -> None:
        nonlocal done
        done = done_bytes
        hearing.report(replace(begun, done_bytes=done_bytes))

    hearing.report(begun)
    try:
        outcome = engine.seed(blob, on_bytes)
    except EngineError as error:
        outcome = SeedOutcome(blob.digest, seeded=False, reason=f"not seeded: {error}")
    hearing.report(replace(begun, done_bytes=blob.size if outcome.seeded else done, outcome=outcome))
    return ClusterOutcome(cluster, outcome)
