"""What the stages of the pipeline work with, passed in by `wiring`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from converter.options import ConvertOptions
from p2p_seed.store import BlobStore
from p2p_seed.supernode import SeedEngine
from registry_hook.dedup import NO_DEDUP, DedupPolicy
from registry_hook.jobs.model import Jobs, Locks
from registry_hook.registry import RegistryClient
from registry_hook.spool import Spool
from signer.keys import Signer


@dataclass(frozen=True, slots=True)
class Services:
    """The outside world, as far as a job needs it.

    Args:
        registry: the registry that is watched and written to.
        registry_name: its host as users write it in references; statements carry it.
        store: where converted blobs rest.
        seeding: how peers get them.
        signer: the key that vouches for conversions.
        builder_id: names this trust domain in provenance.
        options: how images are converted.
        spool: where images are converted before anything is uploaded.
        locks: for tags and fallback indexes.
        jobs: to look conversions up, and for sweeps to ask for publications.
        now_s: seconds since the epoch.
        sleep: waits for some seconds.
        dedup: where images share blobs with earlier ones.
        merged_index: whether the source's tag becomes an index of the source and its conversion.
    """

    registry: RegistryClient
    registry_name: str
    store: BlobStore
    seeding: SeedEngine
    signer: Signer
    builder_id: str
    options: ConvertOptions
    spool: Spool
    locks: Locks
    jobs: Jobs
    now_s: Callable[[], float]
    sleep: Callable[[float], None]
    dedup: DedupPolicy = NO_DEDUP
    merged_index: bool = False

    def settings(self, repository: str) -> str:
        """Everything beside its source that decides what a conversion leaves in a repository.

        With a chunk dictionary the digests that are pinned when its job begins decide, too.
        """
        words = [self.options.fingerprint(), self.signer.public_key.hint, self.builder_id, self.registry_name]
        if shared := self.dedup.fingerprint(repository):
            words.append(shared)
        return " ".join(words)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of this program's parts, for provenance."""
        return {"dragonhook": version("dragonhook")}

    def named(self, repository: str) -> str:
        """A repository with the registry's host."""
        return f"{self.registry_name}/{repository}"

    def now(self) -> str:
        """The time for a step's result, RFC 3339 in UTC."""
        return datetime.fromtimestamp(self.now_s(), UTC).isoformat(timespec="seconds")
