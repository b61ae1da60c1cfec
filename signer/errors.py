"""Errors of this package.

::

    SignerError
    ├── KeyFileError            a key that cannot be used: the operator has to act
    ├── InvalidRequestError     something to sign that contradicts itself: nothing is signed
    ├── ReferrersError          a fallback index that is not one, or is full: alert, nothing is overwritten
    ├── MalformedError          a bundle or statement that cannot be read: reject it
    ├── InvalidSignatureError   a signature that is not by the key: reject it
    └── VerificationError       an image that breaks a rule: do not use it

None of them goes away by trying again.
"""

from __future__ import annotations

from enum import IntEnum


class SignerError(Exception):
    """Base of all errors that this package raises on purpose."""


class KeyFileError(SignerError):
    """A key file that is unreadable, unsafe or of an unsupported kind; the message says what to do."""


class InvalidRequestError(SignerError):
    """A request to sign whose parts do not fit together."""


class ReferrersError(SignerError):
    """An existing fallback index (or signature manifest) that cannot be extended without losing something."""


class MalformedError(SignerError):
    """A bundle, statement or signature manifest that does not have the form it must have."""


class InvalidSignatureError(SignerError):
    """A signature that does not verify with the key."""


class Rule(IntEnum):
    """What a verifier checks, in the order of checking.

    Freshness (7: serial numbers, expiry) and deny lists (8) are not part of this version.
    """

    RESOLVE = 1
    """The reference is resolved once, and everything after it goes by digest."""
    BUNDLES = 2
    """The image has bundles of each required kind, not more than can be read, none too large."""
    SIGNATURE = 3
    """A bundle has the one accepted form and a signature by a trusted key."""
    STATEMENT = 4
    """A statement is of the exact type, and its one subject is the digest being verified."""
    CHUNK_MANIFEST = 5
    """The chunk manifest describes this image, in this repository, layer by layer."""
    PROVENANCE = 6
    """The image was made by a trusted builder, from an allowed source, the one the chunk manifest names."""
    CONTENT = 9
    """Chunk lists (and, for a deep check, all stored bytes) match what is signed."""


class VerificationError(SignerError):
    """An image that breaks a rule.

    Args:
        rule: the rule that failed.
        reason: one line that says what was found.
    """

    def __init__(self, rule: Rule, reason: str) -> None:
        super().__init__(rule, reason)
        self.rule = rule
        self.reason = reason

    def __str__(self) -> str:
        return f"rule {self.rule.value} ({self.rule.name.lower().replace('_', ' ')}): {self.reason}"
