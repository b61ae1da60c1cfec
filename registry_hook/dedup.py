"""In which repositories a new version of an image refers to chunks of earlier ones, and how far that goes."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from converter.dictionary import DEFAULT_MAX_BLOBS


@dataclass(frozen=True, slots=True)
class DedupPolicy:
    """What the operator wants.

    Args:
        repositories: patterns with `*`, `?` and `[…]`, where `*` means slashes, too. None: nowhere.
        versions: how many earlier conversions make up the chunk dictionary of a new one.
        max_borrowed: as `max_blobs` of `ChunkDictionary`.
    """

    repositories: tuple[str, ...] = ()
    versions: int = 1
    max_borrowed: int = DEFAULT_MAX_BLOBS

    def applies_to(self, repository: str) -> bool:
        """Whether images of a repository may share blobs."""
        return any(fnmatchcase(repository, pattern) for pattern in self.repositories)

    def fingerprint(self, repository: str) -> str:
        """What of this decides the result of a conversion in a repository: part of the job's key.

        Which conversions make up the dictionary is decided when a job begins, and kept with it.
        """
        return f"dedup-{self.versions}-{self.max_borrowed}" if self.applies_to(repository) else ""


NO_DEDUP: Final = DedupPolicy()
