"""Content descriptors (OCI image spec 1.1, descriptor.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.oci.digest import Digest
from converter.oci.errors import InvalidManifestError


@dataclass(frozen=True, slots=True)
class Platform:
    """What an entry of an index runs on (image-index.md, "platform")."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def from_json(cls, value: object) -> Platform:
        """Reads the JSON object of a descriptor's `platform`.

        Raises:
            InvalidManifestError: not an object, or without `os` and `architecture`.
        """
        if not isinstance(value, dict):
            raise InvalidManifestError("platform is not an object")
        os, architecture = value.get("os"), value.get("architecture")
        if not isinstance(os, str) or not isinstance(architecture, str):
            raise InvalidManifestError("platform lacks os or architecture")
        return cls(
            os,
            architecture,
            _optional_string(value, "variant"),
            _optional_string(value, "os.version"),
            _strings(value, "os.features"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without absent fields."""
        return {
            "architecture": self.architecture,
            "os": self.os,
            **({"os.version": self.os_version} if self.os_version else {}),
            **({"os.features": list(self.os_features)} if self.os_features else {}),
            **({"variant": self.variant} if self.variant else {}),
        }


def contradict(own: Platform | None, named: Iterable[Platform | None]) -> bool:
    """Whether the entries of an index that name one image are all for systems that the image is not for.

    One entry that is right is enough: an image that runs anywhere may be listed for several platforms. Of a
    platform only system and architecture count; an index may name a variant or a version that a config does
    not.

    Args:
        own: the platform that the image's config names.
        named: the platforms of the entries; None for those that name none.
    """
    systems = {(platform.os, platform.architecture) for platform in named if platform is not None}
    return own is not None and bool(systems) and (own.os, own.architecture) not in systems


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content by type, digest and length.

    Args:
        media_type: type of the content.
        digest: SHA-256 of the content.
        size: length of the content in bytes, not negative.
        annotations: free key/value pairs.
        platform: only in an index.
        artifact_type: type of the artifact that a manifest holds.
        urls: other places to get the content from (foreign layers).

    Raises:
        InvalidManifestError: a negative size.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str | None = None
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise InvalidManifestError(f"descriptor of {self.digest} has the size {self.size}")

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Reads a descriptor object.

        Raises:
            InvalidManifestError: a required field is missing or of the wrong type.
            InvalidDigestError: the digest is not SHA-256.
        """
        if not isinstance(value, dict):
            raise InvalidManifestError("descriptor is not an object")
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str):
            raise InvalidManifestError("descriptor lacks mediaType or digest")
        if not isinstance(size, int) or isinstance(size, bool):
            raise InvalidManifestError(f"descriptor of {digest[:80]!r} lacks an integer size")
        annotations = value.get("annotations") or {}
        if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
            raise InvalidManifestError(f"descriptor of {digest[:80]!r} has annotations that are not strings")
        return cls(
            media_type=media_type,
            digest=Digest.parse(digest),
            size=size,
            annotations=annotations,
            platform=Platform.from_json(value["platform"]) if value.get("platform") else None,
            artifact_type=_optional_string(value, "artifactType"),
            urls=_strings(value, "urls"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, fields in the order of the specification, without absent ones."""
        return {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
            **({"urls": list(self.urls)} if self.urls else {}),
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
            **({"platform": self.platform.to_json()} if self.platform else {}),
            **({"artifactType": self.artifact_type} if self.artifact_type else {}),
        }


def _optional_string(value: Mapping[str, object], key: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise InvalidManifestError(f"{key} is not a string")
    return text or None


def _strings(value: Mapping[str, object], key: str) -> tuple[str, ...]:
    values = value.get(key) or []
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise InvalidManifestError(f"{key} is not a list of strings")
    return tuple(values)
