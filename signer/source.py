"""Where a verifier reads from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from converter.oci import Descriptor, Digest, Manifest


class Source(Protocol):
    """The registry, or anything else that holds the image; the registry client fits as it is.

    A source may check what it hands out and raise `WrongContentError`, which the verifier names by its rule.
    Its other errors (not reachable) pass through unchanged: they too mean that the image is not verified.
    """

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """What a tag or digest names; None where there is nothing."""

    def manifest(self, repository: str, reference: str) -> Manifest:
        """The manifest or index with this tag or digest."""

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """A blob, as a stream."""

    def referrers(self, repository: str, digest: Digest) -> Sequence[Descriptor]:
        """What is attached to `digest`, in any order."""
