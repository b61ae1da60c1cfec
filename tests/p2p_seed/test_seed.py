from __future__ import annotations

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineUnavailableError
from p2p_seed.seed import seed_blobs
from p2p_seed.supernode import NoneEngine, SeedEngine, SeedOutcome

BLOBS = [Descriptor("application/octet-stream", Digest.of(bytes([n])), 1) for n in range(3)]


class HalfEngine:
    """Seeds the first blob, says why not for the second, fails with the third."""

    name = "half"

    def seed(self, blob: Descriptor) -> SeedOutcome:
        if blob == BLOBS[2]:
            raise EngineUnavailableError("scheduler does not answer")
        return SeedOutcome(blob.digest, blob == BLOBS[0], "read back" if blob == BLOBS[0] else "wrong hash")


def test_without_an_engine_nothing_is_called_seeded() -> None:
    engine: SeedEngine = NoneEngine()
    report = seed_blobs(engine, BLOBS)
    assert report.engine == "none"
    assert not report.seeded
    assert report.summary == "0 of 3 blobs seeded; not seeded: no engine configured"
    assert [outcome.digest for outcome in report.outcomes] == [blob.digest for blob in BLOBS]


def test_one_failure_does_not_keep_the_others_from_being_seeded() -> None:
    report = seed_blobs(HalfEngine(), reversed(BLOBS))
    assert [outcome.seeded for outcome in report.outcomes] == [False, False, True]
    assert report.summary == "1 of 3 blobs seeded; not seeded: scheduler does not answer"
    assert not report.seeded


def test_all_seeded() -> None:
    report = seed_blobs(HalfEngine(), BLOBS[:1])
    assert report.seeded
    assert report.summary == "1 blobs seeded by half"
