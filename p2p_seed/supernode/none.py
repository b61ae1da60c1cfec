"""The engine of an installation without P2P: it seeds nothing, and says so."""

from __future__ import annotations

from converter.oci import Descriptor, Digest
from p2p_seed.supernode.engine import Capabilities, EngineHealth, OnProgress, SeedOutcome, unheard


class NoneEngine:
    """Reports every blob as not seeded."""

    @property
    def name(self) -> str:
        """`none`, as in the settings."""
        return "none"

    @property
    def capabilities(self) -> Capabilities:
        """It can do nothing."""
        return Capabilities(ranges=False, one_task_per_blob=False, presence=False, deletion=False)

    def seed(
        self,
        blob: Descriptor,
        on_progress: OnProgress = unheard,  # noqa: ARG002 (of the interface)
    ) -> SeedOutcome:
        """Does nothing and reports that."""
        return SeedOutcome(blob.digest, seeded=False, reason="not seeded: no engine configured")

    def holds(self, blob: Descriptor) -> bool:  # noqa: ARG002 (of the interface)
        """Nobody holds anything."""
        return False

    def forget(self, digest: Digest) -> None:
        """There is nothing to forget."""

    def health(self) -> EngineHealth:
        """Nothing is missing that is not wanted."""
        return EngineHealth(ok=True, detail="no engine configured")

    def close(self) -> None:
        """Nothing is open."""
