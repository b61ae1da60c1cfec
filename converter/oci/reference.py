"""Image references: `host[:port]/repository[:tag][@digest]`.

Grammar: distribution/reference v0.6 `reference.go`. There is no default host or tag: a service must not guess
where to push.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from converter.oci.digest import Digest
from converter.oci.errors import InvalidDigestError, InvalidReferenceError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository of a registry, with a tag, a digest or both.

    Args:
        host: registry host with an optional port.
        repository: name without the host, at most 255 characters.
        tag: at most 128 characters of `[A-Za-z0-9_.-]`.
        digest: wins over the tag when both are present.

    Raises:
        InvalidReferenceError: a part that breaks the grammar.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise InvalidReferenceError(f"not a registry host: {self.host!r}")
        if len(self.repository) > 255 or not _REPOSITORY.fullmatch(self.repository):
            raise InvalidReferenceError(f"not a repository name: {self.repository!r}")
        if self.tag is not None and not is_tag(self.tag):
            raise InvalidReferenceError(f"not a tag: {self.tag!r}")

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads a reference; the host is required.

        Raises:
            InvalidReferenceError: any part is malformed or the host is missing.
        """
        name, at, digest_text = text.partition("@")
        host, slash, path = name.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            raise InvalidReferenceError(f"{text!r} lacks a registry host, as in registry.example/{text}")
        repository, colon, tag = path.partition(":")
        if (at and not digest_text) or (colon and not tag):
            raise InvalidReferenceError(f"{text!r} has an empty tag or digest")
        try:
            digest = Digest.parse(digest_text) if at else None
        except InvalidDigestError as error:
            raise InvalidReferenceError(f"{text!r}: {error}") from error
        return cls(host, repository, tag or None, digest)

    @property
    def locator(self) -> str:
        """What stands after `/manifests/` in a request: the digest, else the tag.

        Raises:
            InvalidReferenceError: neither is present.
        """
        if self.digest is not None:
            return str(self.digest)
        if self.tag is None:
            raise InvalidReferenceError(f"{self} names no tag and no digest")
        return self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def fallback_tag(subject: Digest) -> str:
    """The tag of the index that lists the referrers of `subject` where the registry has no API for it.

    OCI distribution spec 1.1, "Referrers Tag Schema".
    """
    return f"sha256-{subject.hex}"


def is_repository(text: str) -> bool:
    """Whether `text` is a repository name."""
    return len(text) <= 255 and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether `text` is a tag."""
    return _TAG.fullmatch(text) is not None
