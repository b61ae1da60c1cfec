"""Errors of the package, split by what the caller does next.

::

    SeedingError
    ├── StoreError
    │   ├── BlobNotFoundError        nothing is stored under the digest: look elsewhere
    │   ├── BlobRangeError           the range leaves the blob: a mistake of the caller
    │   ├── SourceUnreadableError    the file to be stored is gone or unreadable: make it again
    │   ├── DigestMismatchError      the bytes given are not those the digest names: reject them
    │   ├── CorruptBlobError         the bytes stored are not those the digest names: alert
    │   ├── StoreConfigurationError  refused until a human changes settings or permissions: alert
    │   └── StoreUnavailableError    may work later: retry
    ├── EngineError
    │   ├── EngineConfigurationError refused until a human changes settings or the engine's set-up: alert
    │   └── EngineUnavailableError   the P2P engine may answer later: retry
    └── OriginUrlError               a URL of the origin is not to be served, or cannot be made: refuse
"""


class SeedingError(Exception):
    """Base of everything that this package raises."""


class StoreError(SeedingError):
    """A blob store could not do what was asked."""


class BlobNotFoundError(StoreError):
    """Nothing is stored under the digest."""


class BlobRangeError(StoreError):
    """The range asked for begins or ends outside the blob."""


class SourceUnreadableError(StoreError):
    """The local file to be stored cannot be read."""


class DigestMismatchError(StoreError):
    """The bytes to store do not have the digest they were announced with; nothing was stored."""


class CorruptBlobError(StoreError):
    """What lies in the store under a digest cannot be the blob of that digest."""


class StoreConfigurationError(StoreError):
    """The store refuses until settings or permissions are changed."""


class StoreUnavailableError(StoreError):
    """The store failed in a way that may pass."""


class EngineError(SeedingError):
    """A P2P engine could not do what was asked."""


class EngineConfigurationError(EngineError):
    """The engine refuses until its settings or its set-up are changed."""


class EngineUnavailableError(EngineError):
    """The engine did not answer or is overloaded; the same request may succeed later."""


class OriginUrlError(SeedingError):
    """A URL of the origin has no valid signature, or its settings make none."""
