"""Errors of the chunk manifest.

::

    ChunkManifestError (ValueError)
    ├── InvalidChunkListError      bytes that are not a chunk list, or segments that make none
    └── InvalidChunkManifestError  a predicate that is malformed, or does not fit the image it is about

All of them mean: reject the input. None of them goes away by trying again.
"""


class ChunkManifestError(ValueError):
    """A document of this package that cannot be used; the message names what is wrong with it."""


class InvalidChunkListError(ChunkManifestError):
    """A chunk list that is malformed, incomplete, or not the one asked for."""


class InvalidChunkManifestError(ChunkManifestError):
    """A predicate with a missing, malformed or contradicting field."""
