from __future__ import annotations

import threading

import pytest

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineUnavailableError
from p2p_seed.seed import ClusterOutcome, SeedProgress, seed_blobs
from p2p_seed.supernode import NoneEngine, OnProgress, SeedEngine, SeedOutcome, unheard

BLOBS = [Descriptor("application/octet-stream", Digest.of(bytes([n])), 10) for n in range(3)]


class HalfEngine(NoneEngine):
    """Seeds the first blob, says why not for the second, fails with the third."""

    name = "half"

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        on_progress(4)
        if blob == BLOBS[2]:
            raise EngineUnavailableError("scheduler does not answer")
        return SeedOutcome(blob.digest, blob == BLOBS[0], "read back" if blob == BLOBS[0] else "wrong hash")


class WaitingEngine(NoneEngine):
    """Seeds a blob when so many are being seeded, and remembers in which order they came."""

    name = "waiting"

    def __init__(self, together: int) -> None:
        self._all_here = threading.Barrier(together, timeout=10)
        self.begun: list[Digest] = []

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        self.begun.append(blob.digest)
        self._all_here.wait()
        return SeedOutcome(blob.digest, True, "read back")


def test_without_an_engine_nothing_is_called_seeded() -> None:
    engine: SeedEngine = NoneEngine()
    report = seed_blobs({"none": engine}, BLOBS)
    assert report.clusters == ("none",)
    assert not report.seeded
    assert report.summary == "0 of 3 blobs seeded; none: not seeded: no engine configured"
    assert [entry.outcome.digest for entry in report.outcomes] == [blob.digest for blob in BLOBS]
    assert not engine.holds(BLOBS[0])
    assert engine.health().ok


def test_one_failure_does_not_keep_the_others_from_being_seeded() -> None:
    report = seed_blobs({"near": HalfEngine()}, reversed(BLOBS))
    assert [entry.outcome.seeded for entry in report.outcomes] == [False, False, True]
    assert report.summary == "1 of 3 blobs seeded; near: not seeded: scheduler does not answer"
    assert not report.seeded


def test_all_seeded() -> None:
    report = seed_blobs({"near": HalfEngine(), "far": HalfEngine()}, BLOBS[:1])
    assert report.seeded
    assert report.summary == "1 blobs seeded by near, far"


def test_an_image_without_blobs_needs_no_seeding() -> None:
    assert seed_blobs({"near": HalfEngine()}, []).seeded


def test_a_cluster_that_fails_does_not_hold_up_another() -> None:
    """The second cluster ends while the first still waits for it."""
    second_done = threading.Event()

    class Slow(NoneEngine):
        def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
            assert second_done.wait(10)
            raise EngineUnavailableError("gone")

    class Quick(NoneEngine):
        def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
            if blob == BLOBS[-1]:
                second_done.set()
            return SeedOutcome(blob.digest, True, "read back")

    report = seed_blobs({"slow": Slow(), "quick": Quick()}, BLOBS)
    assert [entry.cluster for entry in report.outcomes] == ["slow"] * 3 + ["quick"] * 3
    assert [entry.cluster for entry in report.missing] == ["slow"] * 3


def test_blobs_go_side_by_side_but_no_more_than_asked_for() -> None:
    engine = WaitingEngine(together=2)
    report = seed_blobs({"one": engine}, [BLOBS[0], BLOBS[1]], parallel=2)
    assert report.seeded
    alone = WaitingEngine(together=1)
    seed_blobs({"one": alone}, BLOBS, parallel=1)
    assert alone.begun == [blob.digest for blob in BLOBS]


def test_progress_tells_of_each_blob_and_ends_with_its_outcome() -> None:
    heard: list[SeedProgress] = []
    report = seed_blobs({"near": HalfEngine()}, BLOBS, on_progress=heard.append)
    of_first = [progress for progress in heard if progress.blob == BLOBS[0]]
    assert [progress.done_bytes for progress in of_first] == [0, 4, 10]
    assert [progress.done_bytes for progress in heard if progress.blob == BLOBS[2]] == [0, 4, 4]
    ends = [progress for progress in heard if progress.outcome is not None]
    assert tuple(ClusterOutcome(p.cluster, p.outcome) for p in ends if p.outcome) == report.outcomes


def test_a_listener_that_raises_stops_everything() -> None:
    begun: set[str] = set()

    def listen(progress: SeedProgress) -> None:
        begun.add(str(progress.blob.digest))
        if progress.done_bytes:
            raise InterruptedError("the job was cancelled")

    with pytest.raises(InterruptedError, match="cancelled"):
        seed_blobs({"near": HalfEngine()}, BLOBS, on_progress=listen)
    assert begun == {str(BLOBS[0].digest)}
