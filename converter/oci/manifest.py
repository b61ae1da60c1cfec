"""Image manifests and indexes that keep the exact bytes they were read from.

A digest covers bytes, not meaning, so a manifest is never serialised again to be hashed, pushed or signed.
Sources: OCI image spec 1.1 manifest.md and image-index.md; Docker image manifest v2 schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from converter.oci import media_types
from converter.oci.descriptor import Descriptor
from converter.oci.digest import Digest
from converter.oci.errors import InvalidManifestError

MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # Distribution's own limit, registry/handlers/manifests.go


@dataclass(frozen=True, slots=True)
class _Document:
    """What a manifest and an index have in common."""

    raw: bytes
    media_type: str
    digest: Digest
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]

    @property
    def size(self) -> int:
        """Length of the raw bytes."""
        return len(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """Media type, digest and size of the raw bytes."""
        return Descriptor(self.media_type, self.digest, len(self.raw))


@dataclass(frozen=True, slots=True)
class ImageManifest(_Document):
    """An image (or artifact) manifest: one config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageIndex(_Document):
    """A list of manifests, usually one a platform."""

    manifests: tuple[Descriptor, ...]


Manifest: TypeAlias = ImageManifest | ImageIndex


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Serialises a manifest or config of our own: compact UTF-8, keys in the order given.

    Raises:
        UnicodeEncodeError: text with a lone surrogate.
        ValueError: a number that JSON does not have: NaN or infinity.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_manifest(raw: bytes, media_type: str | None = None) -> Manifest:
    """Parses manifest bytes.

    Args:
        raw: the exact bytes, at most 4 MiB.
        media_type: what the transport said (a registry's Content-Type, or a descriptor), if anything. The
            document's own `mediaType` must not contradict it.

    Returns:
        The manifest or index, holding `raw` unchanged.

    Raises:
        InvalidManifestError: not JSON, too large, of an unknown type, or a field is missing or malformed.
        InvalidDigestError: a descriptor's digest is not SHA-256.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"manifest of {len(raw)} bytes is over the limit of {MAX_MANIFEST_BYTES}")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(f"manifest is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise InvalidManifestError("manifest is not a schemaVersion 2 object")
    media_type = _media_type(document, media_type)
    annotations = document.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
        raise InvalidManifestError("manifest annotations are not strings")
    artifact_type = document.get("artifactType")
    common: dict[str, Any] = {
        "raw": raw,
        "media_type": media_type,
        "digest": Digest.of(raw),
        "subject": Descriptor.from_json(document["subject"]) if document.get("subject") else None,
        "artifact_type": artifact_type if isinstance(artifact_type, str) and artifact_type else None,
        "annotations": annotations,
    }
    if media_type in media_types.INDEX_TYPES:
        return ImageIndex(**common, manifests=_descriptors(document, "manifests"))
    return ImageManifest(
        **common, config=Descriptor.from_json(document.get("config")), layers=_descriptors(document, "layers")
    )


def _media_type(document: Mapping[str, Any], given: str | None) -> str:
    own = document.get("mediaType")
    if own is not None and given is not None and own != given:
        raise InvalidManifestError(f"manifest says it is {own!r}, but it was sent as {given!r}")
    # A manifest with both kinds of content could be read two ways (GHSA-77vh-xpmg-72qh), so it is refused.
    if "manifests" in document and ("layers" in document or "config" in document):
        raise InvalidManifestError("manifest has both manifests and layers")
    media_type = own or given
    if media_type is None:
        media_type = media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST
    if media_type not in media_types.ACCEPT_MANIFESTS:
        raise InvalidManifestError(f"unknown manifest media type {media_type!r}")
    return str(media_type)


def _descriptors(document: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    values = document.get(key)
    if not isinstance(values, list):
        raise InvalidManifestError(f"manifest lacks the list {key!r}")
    return tuple(Descriptor.from_json(value) for value in values)
