"""The engine of an installation without P2P: it seeds nothing, and says so."""

from __future__ import annotations

from converter.oci import Descriptor
from p2p_seed.supernode.engine import SeedOutcome


class NoneEngine:
    """Reports every blob as not seeded."""

    @property
    def name(self) -> str:
        """`none`, as in the settings."""
        return "none"

    def seed(self, blob: Descriptor) -> SeedOutcome:
        """Does nothing and reports that."""
        return SeedOutcome(blob.digest, seeded=False, reason="not seeded: no engine configured")
