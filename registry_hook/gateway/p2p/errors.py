"""Errors of reading from peers, split by who is spared next.

::

    StoreUnavailableError
    └── PeerReadError        this request goes to another source
        ├── PeerFaultError   the peer failed: it is spared for a while
        │   └── WrongBytesError   it sent wrong bytes: it is spared for long, and has to forget the blob
        ├── OriginFaultError the peer works, but does not get the blob: the blob is not asked for, for a while
        ├── TooLargeError    too long to be hashed before its first byte is sent: not asked for, for long
        └── NoPeerError      every peer is spared, or there is no memory to spare
"""

from __future__ import annotations

from p2p_seed.errors import StoreUnavailableError


class PeerReadError(StoreUnavailableError):
    """A blob cannot be had from the peers now."""


class PeerFaultError(PeerReadError):
    """A peer failed.

    Args:
        message: why.
        certain: nobody else would get an answer either; otherwise it may be this blob's fault.
    """

    def __init__(self, message: str, certain: bool) -> None:
        super().__init__(message)
        self.certain = certain


class WrongBytesError(PeerFaultError):
    """A peer sent bytes that are not the blob's."""

    def __init__(self, message: str) -> None:
        super().__init__(message, certain=True)


class OriginFaultError(PeerReadError):
    """What the peer fetches from failed, or does not have the blob."""


class TooLargeError(PeerReadError):
    """A blob without a chunk list is too long to be read whole before it is served."""


class NoPeerError(PeerReadError):
    """No peer can be asked."""
