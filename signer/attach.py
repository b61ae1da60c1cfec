"""What is attached to an image in the registry: artifacts, their tags, and their descriptors.

Each artifact has a tag of its own. A registry without the referrers API knows them only from a fallback
index, and Distribution 2.8's garbage collector deletes what an index lists but no tag names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from converter.chunk_manifest import PREDICATE_CHUNK_MANIFEST, BlobChunks
from converter.oci import (
    Descriptor,
    Digest,
    ImageManifest,
    Manifest,
    encode_json,
    media_types,
    parse_manifest,
)
from signer.bundle import Bundle
from signer.provenance import PREDICATE_PROVENANCE
from signer.statements import PREDICATE_SIGN

ANNOTATION_CONTENT: Final = "dev.sigstore.bundle.content"
ANNOTATION_PREDICATE_TYPE: Final = "dev.sigstore.bundle.predicateType"
ANNOTATION_KEY_HINT: Final = "dev.dragonhook.key-hint"
ANNOTATION_BLOB: Final = "dev.dragonhook.blob"
ANNOTATION_TITLE: Final = "org.opencontainers.image.title"

_BUNDLE_SUFFIXES: Final = {
    PREDICATE_SIGN: "dh-sign",
    PREDICATE_CHUNK_MANIFEST: "dh-chunks",
    PREDICATE_PROVENANCE: "dh-provenance",
}

Content: TypeAlias = bytes | Path


@dataclass(frozen=True, slots=True)
class ArtifactBlob:
    """A blob to push before the manifest that names it; `content` is the bytes or a file that holds them."""

    descriptor: Descriptor
    content: Content


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest to push under its tag, after its blobs."""

    tag: str
    manifest: ImageManifest
    blobs: tuple[ArtifactBlob, ...]


def bundle_tag(digest: Digest, predicate_type: str) -> str:
    """The tag of the bundle with such a statement about `digest`."""
    return f"sha256-{digest.hex}.{_BUNDLE_SUFFIXES[predicate_type]}"


def chunk_list_tag(blob: Digest) -> str:
    """The tag of the chunk list of `blob`, which is found from the blob's digest alone."""
    return f"sha256-{blob.hex}.dh-chunklist"


def referrer_descriptor(manifest: Manifest) -> Descriptor:
    """A manifest's entry in a fallback index, as the referrers API would give it (distribution spec 1.1)."""
    artifact_type = manifest.artifact_type
    if artifact_type is None and isinstance(manifest, ImageManifest):
        artifact_type = manifest.config.media_type
    return Descriptor(
        manifest.media_type, manifest.digest, manifest.size, manifest.annotations, artifact_type=artifact_type
    )


def bundle_artifact(subject: Descriptor, predicate_type: str, bundle: Bundle) -> Artifact:
    """The artifact that attaches a bundle to an image; exactly one layer, or cosign passes over it."""
    blob = inline_blob(media_types.SIGSTORE_BUNDLE, bundle.encode())
    return artifact(
        bundle_tag(subject.digest, predicate_type),
        inline_blob(media_types.OCI_EMPTY, b"{}"),
        [blob.descriptor],
        [blob],
        artifact_type=media_types.SIGSTORE_BUNDLE,
        subject=subject,
        annotations={
            ANNOTATION_CONTENT: "dsse-envelope",
            ANNOTATION_PREDICATE_TYPE: predicate_type,
            ANNOTATION_KEY_HINT: bundle.hint,
        },
    )


def chunk_list_artifact(image: Descriptor, blob: BlobChunks, chunk_list: Content, bundle: Bundle) -> Artifact:
    """The artifact with a blob's chunk list and the bundle of the statement about the blob.

    Args:
        image: the converted image that the blob belongs to. Where several images share the blob, each has an
            artifact of its own, with the same two layers; the tag names the newest.
        blob: the blob and its tree.
        chunk_list: the list's bytes, or a file that holds them.
        bundle: with the statement about the blob.
    """
    name = f"sha256-{blob.digest.hex}.chunklist"
    listed = ArtifactBlob(replace(blob.chunk_list, annotations={ANNOTATION_TITLE: name}), chunk_list)
    signed = inline_blob(
        media_types.SIGSTORE_BUNDLE, bundle.encode(), {ANNOTATION_TITLE: f"{name}.sigstore.json"}
    )
    return artifact(
        chunk_list_tag(blob.digest),
        inline_blob(media_types.OCI_EMPTY, b"{}"),
        [listed.descriptor, signed.descriptor],
        [listed, signed],
        artifact_type=media_types.CHUNK_LIST,
        subject=image,
        annotations={ANNOTATION_BLOB: str(blob.digest), ANNOTATION_KEY_HINT: bundle.hint},
    )


def inline_blob(
    media_type: str, content: bytes, annotations: Mapping[str, str] = MappingProxyType({})
) -> ArtifactBlob:
    """A small blob held in memory; the annotations go into its descriptor."""
    return ArtifactBlob(Descriptor(media_type, Digest.of(content), len(content), annotations), content)


def artifact(
    tag: str,
    config: ArtifactBlob,
    layers: Sequence[Descriptor],
    new_blobs: Sequence[ArtifactBlob],
    *,
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Artifact:
    """Builds an artifact (image spec 1.1, "Guidelines for Artifact Usage"); equal input, equal bytes.

    Args:
        tag: to push it under.
        config: pushed with it.
        layers: at least one.
        new_blobs: those of the layers that have to be pushed.
        artifact_type: media type of the whole.
        subject: what it is attached to; only media type, digest and size are used.
        annotations: of the manifest.
    """
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        **({"artifactType": artifact_type} if artifact_type else {}),
        "config": config.descriptor.to_json(),
        "layers": [layer.to_json() for layer in layers],
        **({"subject": plain(subject).to_json()} if subject else {}),
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    manifest = parse_manifest(encode_json(document), media_types.OCI_MANIFEST)
    assert isinstance(manifest, ImageManifest)  # noqa: S101  # follows from the media type
    return Artifact(tag, manifest, (config, *new_blobs))


def plain(descriptor: Descriptor) -> Descriptor:
    """Media type, digest and size alone: some registries refuse more in a `subject`."""
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
