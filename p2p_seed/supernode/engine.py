"""What a P2P engine offers to the rest, whatever its protocol is.

An engine stands for one cluster of peers. It brings blobs to the cluster's seed peers from the origin of
`p2p_seed.origin`, proves that they arrived, says later whether they are still there, and removes them. It
serves no client: that is the gateway's part, which reads from the same seed peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from converter.oci import Descriptor, Digest

OnProgress = Callable[[int], None]
"""Hears how many bytes of a blob have arrived, never less than before. What it raises ends the seeding."""


def unheard(_: int) -> None:
    """The progress of somebody who does not want to hear of it."""


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


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, so that others need not know its kind.

    Args:
        ranges: peers answer a Range with exactly these bytes, cut from the blob that was seeded, so that lazy
            pulls work.
        one_task_per_blob: whatever host, repository or signature the URL of a client has, it means the same
            copy of the blob. Without it only a client that asks with the very URL that was seeded profits.
        presence: `holds` really asks. Without it the answer is always no; seeding again now and then has to
            take its place.
        deletion: `forget` removes the blob from the peers, so wrong bytes can be taken back.
    """

    ranges: bool
    one_task_per_blob: bool
    presence: bool
    deletion: bool


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether an engine could seed now.

    Args:
        ok: every part that seeding needs answers.
        detail: one line; when not ok it names the part that does not answer.
    """

    ok: bool
    detail: str


class SeedEngine(Protocol):
    """Brings blobs to the peers of one cluster before anybody asks for them. Threads may share one."""

    @property
    def name(self) -> str:
        """The kind of engine, as the settings and the logs call it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do. It does not change."""
        ...

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        """Brings one blob to its seed peers and proves that it is there. Safe to repeat.

        Args:
            blob: what to seed.
            on_progress: hears from the calling thread how many bytes have arrived.

        Raises:
            EngineUnavailableError: try again later.
            EngineError: trying again will not help.
        """
        ...

    def holds(self, blob: Descriptor) -> bool:
        """Whether the seed peers a blob belongs to still have it, and clients are sent there.

        Moves no content: cheap enough to be asked about each blob every minute. It repeats no proof: what was
        proven once and is still there is not read again.

        Raises:
            EngineUnavailableError: the engine cannot be asked now.
        """
        ...

    def forget(self, digest: Digest) -> None:
        """Removes a blob from every peer that can be reached. One that nobody holds is forgotten already.

        Raises:
            EngineUnavailableError: a peer may still have it.
            EngineError: the engine cannot remove anything (`Capabilities.deletion`).
        """
        ...

    def health(self) -> EngineHealth:
        """Asks every part that seeding needs. Never raises: that a part is gone is the answer."""
        ...

    def close(self) -> None:
        """Closes connections. The engine cannot be used any more."""
        ...
