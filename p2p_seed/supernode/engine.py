"""What a P2P engine offers to the rest, whatever its protocol is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from converter.oci import Descriptor, Digest


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What became of one blob.

    Args:
        digest: names the blob.
        seeded: True only when the blob was read back through the engine and had the right SHA-256: an engine
            that says "success" is no evidence (design decision 12).
        reason: one line saying why not, or what the proof was.
        origin_bytes: what the engine fetched from the origin for it, where that can be counted.
    """

    digest: Digest
    seeded: bool
    reason: str
    origin_bytes: int | None = None


class SeedEngine(Protocol):
    """Brings blobs to the peers before anybody asks for them. Safe to repeat."""

    @property
    def name(self) -> str:
        """What the settings and the logs call it."""
        ...

    def seed(self, blob: Descriptor) -> SeedOutcome:
        """Brings one blob to the seed peers and proves that it is there.

        Raises:
            EngineUnavailableError: try again later.
            EngineError: trying again will not help.
        """
        ...
