"""What every engine has to do, whatever its protocol is: one suite, run with each engine on a real cluster.

A module of tests makes a `Rig` in a fixture of the name `rig` and inherits from `EngineContract`. Blobs are
random, so the tests of a module can share a cluster.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from converter.oci import Descriptor
from p2p_seed.errors import EngineError, EngineUnavailableError
from p2p_seed.seed import seed_blobs
from p2p_seed.supernode import SeedEngine
from tests.converter.sharing_images import convert, image_of, noise
from tests.peers.counted_origin import CountedOrigin

SIZE = 5_000_000


class Rig(ABC):
    """A running cluster with its engine and its origin."""

    engine: SeedEngine
    origin: CountedOrigin

    @abstractmethod
    def read(self, blob: Descriptor, start: int | None = None, end: int | None = None) -> bytes:
        """Reads a blob, or its bytes from `start` to before `end`, through a peer that nobody else uses."""

    @abstractmethod
    def lose(self, blob: Descriptor) -> None:
        """Has the cluster lose a blob, as it does by itself when it needs room or restarts."""

    @abstractmethod
    def unreachable(self) -> SeedEngine:
        """An engine of this kind that nobody answers."""


def converted_image(directory: Path) -> list[bytes]:
    """What clients of a converted image fetch: bootstrap, config, and the data of two layers."""
    converted = convert(image_of({"a": noise(1, 6_000_000)}, {"b": noise(2, 500_000)}), directory / "image")
    data = [blob.path.read_bytes() for blob in converted.blobs]
    return [converted.bootstrap.path.read_bytes(), converted.config, *data]


class CancelledError(Exception):
    """What a caller ends a seeding with."""


def not_seeded(engine: SeedEngine, blob: Descriptor) -> bool:
    """Seeds a blob, and whether that failed, in one of the two ways to say so."""
    try:
        return not engine.seed(blob).seeded
    except EngineError:
        return True


class EngineContract:
    """The suite."""

    def test_an_image_is_pulled_without_the_origin(self, rig: Rig, tmp_path: Path) -> None:
        """All that a converted image consists of, seeded at once and read through a peer that had nothing."""
        contents = converted_image(tmp_path)
        blobs = [rig.origin.add(content) for content in contents]
        report = seed_blobs({"here": rig.engine}, blobs, parallel=4)
        assert report.seeded, report.summary
        before = rig.origin.sent_bytes()
        for blob, content in zip(blobs, contents, strict=True):
            assert rig.read(blob) == content
            if rig.engine.capabilities.ranges:
                assert rig.read(blob, start=1, end=100) == content[1:100]
        # A peer may look whether the origin still has a blob.
        assert rig.origin.sent_bytes() - before <= len(blobs)

    def test_a_seeded_blob_comes_from_the_cluster(self, rig: Rig) -> None:
        content = os.urandom(SIZE)
        blob = rig.origin.add(content)
        assert not rig.engine.holds(blob)
        heard: list[int] = []
        outcome = rig.engine.seed(blob, heard.append)
        assert outcome.seeded, outcome.reason
        assert outcome.digest == blob.digest
        assert "SHA-256" in outcome.reason
        assert heard == sorted(heard)
        assert heard[-1] == blob.size
        assert rig.engine.holds(blob)
        before = rig.origin.sent_bytes(blob.digest)
        assert before >= blob.size
        assert rig.read(blob) == content
        # A peer may look whether the origin still has it.
        assert rig.origin.sent_bytes(blob.digest) - before <= 1

    def test_seeding_again_moves_nothing_from_the_origin(self, rig: Rig) -> None:
        blob = rig.origin.add(os.urandom(SIZE))
        assert rig.engine.seed(blob).seeded
        before = rig.origin.sent_bytes(blob.digest)
        outcome = rig.engine.seed(blob)
        assert outcome.seeded, outcome.reason
        assert rig.origin.sent_bytes(blob.digest) - before <= 1

    @pytest.mark.parametrize("size", [0, 1])
    def test_the_smallest_blobs(self, rig: Rig, size: int) -> None:
        blob = rig.origin.add(os.urandom(size))
        outcome = rig.engine.seed(blob)
        assert outcome.seeded, outcome.reason
        assert rig.engine.holds(blob)

    def test_wrong_bytes_are_not_seeded_and_nobody_keeps_them(self, rig: Rig) -> None:
        content = bytearray(os.urandom(SIZE))
        blob = rig.origin.add(bytes(content))
        content[SIZE // 2] ^= 1
        rig.origin.replace(blob.digest, bytes(content))
        assert not_seeded(rig.engine, blob)
        assert not rig.engine.holds(blob)

    def test_a_blob_of_another_length_is_not_seeded(self, rig: Rig) -> None:
        content = os.urandom(SIZE)
        blob = rig.origin.add(content)
        rig.origin.replace(blob.digest, content + b"more")
        assert not_seeded(rig.engine, blob)
        assert not rig.engine.holds(blob)

    def test_what_the_origin_does_not_have_cannot_be_seeded(self, rig: Rig) -> None:
        blob = rig.origin.add(os.urandom(SIZE))
        rig.origin.remove(blob.digest)
        with pytest.raises(EngineError) as refused:
            rig.engine.seed(blob)
        assert "Signature" not in str(refused.value)
        assert not rig.engine.holds(blob)

    def test_what_was_forgotten_can_be_seeded_again(self, rig: Rig) -> None:
        blob = rig.origin.add(os.urandom(SIZE))
        assert rig.engine.seed(blob).seeded
        rig.engine.forget(blob.digest)
        assert not rig.engine.holds(blob)
        rig.engine.forget(blob.digest)
        assert rig.engine.seed(blob).seeded
        assert rig.engine.holds(blob)

    def test_what_the_cluster_lost_is_missed_and_seeded_again(self, rig: Rig) -> None:
        blob = rig.origin.add(os.urandom(SIZE))
        assert rig.engine.seed(blob).seeded
        rig.lose(blob)
        assert not rig.engine.holds(blob)
        assert rig.engine.seed(blob).seeded
        assert rig.engine.holds(blob)

    def test_the_caller_can_end_a_seeding(self, rig: Rig) -> None:
        def cancel(_: int) -> None:
            raise CancelledError

        with pytest.raises(CancelledError):
            rig.engine.seed(rig.origin.add(os.urandom(SIZE)), cancel)

    def test_health_of_what_runs(self, rig: Rig) -> None:
        health = rig.engine.health()
        assert health.ok, health.detail

    def test_nobody_answers(self, rig: Rig) -> None:
        engine = rig.unreachable()
        blob = rig.origin.add(os.urandom(1))
        try:
            for call in (engine.seed, engine.holds):
                with pytest.raises(EngineUnavailableError):
                    call(blob)
            with pytest.raises(EngineUnavailableError):
                engine.forget(blob.digest)
            health = engine.health()
            assert not health.ok
            assert health.detail
        finally:
            engine.close()
