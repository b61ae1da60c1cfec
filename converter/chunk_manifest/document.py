"""The chunk manifest of an image, as the predicate of an in-toto statement.

It is a JSON object of strings, integers below 2**53 and booleans; `signer` wraps it in a statement and
serialises that canonically. A digest is written as in-toto's digest set, `{"sha256": "<hex>"}`.

The chunk manifest names no tag of the converted image and no serial number: a tag is a pointer that moves
without a new conversion, and belongs in a statement of its own.

Readers reject an unknown `schema` and ignore unknown fields (in-toto attestation framework 1.0, "parsing
rules").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from converter.chunk_manifest.blob import SCHEMA, BlobChunks
from converter.chunk_manifest.errors import InvalidChunkManifestError
from converter.chunk_manifest.fields import Fields, digest_set
from converter.oci import Digest, ImageManifest, Platform, media_types

PREDICATE_CHUNK_MANIFEST: Final = "https://dragonhook.dev/chunk-manifest/v1"
BUILD_TYPE: Final = "https://dragonhook.dev/convert/v1"
MAX_BLOBS: Final = 1024  # an image has at most 127 layers where overlayfs is to mount it


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as every time in a statement is written.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"time without a time zone: {moment}")
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """The image that was converted.

    Args:
        repository: with the registry's host, as users write it.
        digest: of its manifest or index.
        media_type: of its manifest or index.
        tag: under which it was seen when the conversion was signed; a note for people.
        index_digest: of the index that it was chosen from, if there was one.
    """

    repository: str
    digest: Digest
    media_type: str
    tag: str | None = None
    index_digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class TargetImage:
    """The converted image: repository with host, and digest, type and size of its manifest."""

    repository: str
    digest: Digest
    media_type: str
    size: int
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The bootstrap layer.

    Args:
        layer_digest: of the compressed layer.
        layer_size: of the compressed layer, in bytes.
        diff_id: digest of the uncompressed layer.
        boot_digest: digest of the file `image/image.boot` in it.
        fs_version: "6" or "5".
        chunk_size: in bytes.
        digester: algorithm of the chunk digests inside the bootstrap, "blake3" or "sha256".
    """

    layer_digest: Digest
    layer_size: int
    diff_id: Digest
    boot_digest: Digest
    fs_version: str
    chunk_size: int
    digester: str


@dataclass(frozen=True, slots=True)
class ChunkManifest:
    """What is signed about a converted image: where it comes from, and how each of its bytes can be checked.

    Args:
        target: the converted image; its digest is the statement's subject.
        source: the image that was converted.
        bootstrap: its last layer.
        blobs: its other layers, in the manifest's order, one entry for each layer even when two are the same
            blob.
        issued_at: when it was signed, RFC 3339 in UTC.
        references: layers of the source that hold data of the image, each once, in the order in which the
            blobs refer to them. Only an OCI-reference image has any, and its manifest does not list them.
    """

    target: TargetImage
    source: SourceImage
    bootstrap: Bootstrap
    blobs: tuple[BlobChunks, ...]
    issued_at: str
    references: tuple[BlobChunks, ...] = ()

    def check_image(self, manifest: ImageManifest) -> None:
        """Checks that this describes the manifest: its digest, its layers in order, what they refer to.

        Raises:
            InvalidChunkManifestError: they differ.
        """
        if (self.target.digest, self.target.size) != (manifest.digest, manifest.size):
            raise InvalidChunkManifestError(
                f"it is about {self.target.digest} ({self.target.size} bytes),"
                f" not {manifest.digest} ({manifest.size} bytes)"
            )
        if self.target.media_type != manifest.media_type:
            raise InvalidChunkManifestError(f"it calls {manifest.digest} a {self.target.media_type}")
        described = [(blob.digest, blob.size) for blob in self.blobs]
        described.append((self.bootstrap.layer_digest, self.bootstrap.layer_size))
        layers = [(layer.digest, layer.size) for layer in manifest.layers]
        if described != layers:
            extra = next((pair[0] for pair in layers if pair not in described), None)
            raise InvalidChunkManifestError(
                f"the layers of {manifest.digest} are not its blobs and bootstrap in order"
                + (f"; {extra} is not described" if extra else "")
            )
        found = tuple(str(layer.digest) for layer in self.references)
        if found != (wanted := _referred_to(manifest)):
            raise InvalidChunkManifestError(
                f"the layers of {manifest.digest} refer to {', '.join(wanted) or 'nothing'},"
                f" described are {', '.join(found) or 'none'}"
            )

    def to_predicate(self) -> dict[str, Any]:
        """The predicate of type `PREDICATE_CHUNK_MANIFEST`."""
        target, source, boot = self.target, self.source, self.bootstrap
        return {
            "schema": SCHEMA,
            "target": {
                "repository": target.repository, "digest": digest_set(target.digest),
                "mediaType": target.media_type, "size": target.size,
                **({"platform": target.platform.to_json()} if target.platform else {}),
            },
            "source": {
                "repository": source.repository, "digest": digest_set(source.digest),
                "mediaType": source.media_type,
                **({"tag": source.tag} if source.tag else {}),
                **({"indexDigest": digest_set(source.index_digest)} if source.index_digest else {}),
            },
            "bootstrap": {
                "layerDigest": digest_set(boot.layer_digest), "layerSize": boot.layer_size,
                "diffId": digest_set(boot.diff_id), "bootDigest": digest_set(boot.boot_digest),
                "fsVersion": boot.fs_version, "chunkSize": boot.chunk_size, "digester": boot.digester,
            },
            "blobs": [blob.to_json() for blob in self.blobs],
            **({"references": [layer.to_json() for layer in self.references]} if self.references else {}),
            "issuedAt": self.issued_at,
        }  # fmt: skip

    @classmethod
    def from_predicate(cls, value: object) -> ChunkManifest:
        """Reads a predicate of type `PREDICATE_CHUNK_MANIFEST`.

        Raises:
            InvalidChunkManifestError: unknown schema, or a field is missing, malformed or contradicts
                another.
        """
        fields = Fields(value, "chunk manifest").schema(SCHEMA)
        return cls(
            _target(fields.child("target")),
            _source(fields.child("source")),
            _bootstrap(fields.child("bootstrap")),
            tuple(BlobChunks.from_json(blob) for blob in fields.children("blobs", MAX_BLOBS)),
            fields.text("issuedAt"),
            tuple(BlobChunks.from_json(layer) for layer in fields.optional_children("references", MAX_BLOBS)),
        )


def _referred_to(manifest: ImageManifest) -> tuple[str, ...]:
    """What the layers of a manifest say to refer to, each once."""
    said = (layer.annotations.get(media_types.ANNOTATION_NYDUS_REF) for layer in manifest.layers)
    return tuple(dict.fromkeys(digest for digest in said if digest is not None))


def _target(fields: Fields) -> TargetImage:
    return TargetImage(
        fields.text("repository"), fields.digest("digest"), fields.text("mediaType"), fields.integer("size"),
        fields.platform("platform"),
    )  # fmt: skip


def _source(fields: Fields) -> SourceImage:
    return SourceImage(
        fields.text("repository"), fields.digest("digest"), fields.text("mediaType"),
        fields.optional_text("tag"), fields.optional_digest("indexDigest"),
    )  # fmt: skip


def _bootstrap(fields: Fields) -> Bootstrap:
    return Bootstrap(
        fields.digest("layerDigest"), fields.integer("layerSize"), fields.digest("diffId"),
        fields.digest("bootDigest"), fields.text("fsVersion"), fields.integer("chunkSize"),
        fields.text("digester"),
    )  # fmt: skip
