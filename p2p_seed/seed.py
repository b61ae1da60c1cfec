"""Seeds the blobs of an image, and reports honestly what is seeded and what is not.

Seeding never holds back a tag (design decision 6): the caller publishes first, and what this reports as not
seeded is tried again later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from converter.oci import Descriptor
from p2p_seed.errors import EngineError
from p2p_seed.supernode import SeedEngine, SeedOutcome


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The outcomes of all blobs of one image, in the order they were given."""

    engine: str
    outcomes: tuple[SeedOutcome, ...]

    @property
    def seeded(self) -> bool:
        """Whether every blob is proven to be at the seed peers. An image without blobs needs no seeding."""
        return all(outcome.seeded for outcome in self.outcomes)

    @property
    def summary(self) -> str:
        """One line for people: counts and, when something is missing, the first reason."""
        missing = [outcome for outcome in self.outcomes if not outcome.seeded]
        if not missing:
            return f"{len(self.outcomes)} blobs seeded by {self.engine}"
        count = f"{len(self.outcomes) - len(missing)} of {len(self.outcomes)} blobs seeded"
        return f"{count}; {missing[0].reason}"


def seed_blobs(engine: SeedEngine, blobs: Iterable[Descriptor]) -> SeedReport:
    """Seeds each blob; one that fails does not keep the others from it.

    Args:
        engine: the P2P engine.
        blobs: what to seed, the most wanted first.

    Returns:
        One outcome for each blob. An error of the engine is an outcome too, with its message as the reason.
    """
    return SeedReport(engine.name, tuple(_seed_one(engine, blob) for blob in blobs))


def _seed_one(engine: SeedEngine, blob: Descriptor) -> SeedOutcome:
    try:
        return engine.seed(blob)
    except EngineError as error:
        return SeedOutcome(blob.digest, seeded=False, reason=f"not seeded: {error}")
