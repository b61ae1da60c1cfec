"""Signing a converted image or index: everything that has to be pushed, in the order of pushing.

Nothing here reaches out. Times, ids and names come with the request, so that a step that is repeated after a
crash gives the same bytes and finds them in the registry already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from converter.chunk_manifest import (
    BlobChunks,
    Bootstrap,
    ChunkManifest,
    SourceImage,
    TargetImage,
    format_time,
)
from converter.oci import Descriptor, ImageIndex, ImageManifest, Platform, fallback_tag
from signer.attach import (
    Artifact,
    Content,
    bundle_artifact,
    chunk_list_artifact,
    referrer_descriptor,
)
from signer.bundle import Bundle
from signer.errors import InvalidRequestError
from signer.keys import Signer
from signer.provenance import Build, provenance_statement
from signer.simple_signing import simple_signature
from signer.statements import Statement, blob_statement, chunk_manifest_statement, sign_statement


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A converted image to sign.

    Args:
        repository: with the registry's host, as users write it; it goes into each statement.
        manifest: of the converted image.
        source: the image that was converted.
        bootstrap: its last layer.
        blobs: its other layers in order, each with its chunk list as bytes or as a file.
        build: the run that made it.
        issued_at: time of signing, with a time zone.
        platform: from the image's config or its entry in an index.
        references: layers of the source that hold data of the image, each with its chunk list.
    """

    repository: str
    manifest: ImageManifest
    source: SourceImage
    bootstrap: Bootstrap
    blobs: tuple[tuple[BlobChunks, Content], ...]
    build: Build
    issued_at: datetime
    platform: Platform | None = None
    references: tuple[tuple[BlobChunks, Content], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexSigningRequest:
    """A converted index to sign; its children are signed each by a request of their own."""

    repository: str
    index: ImageIndex
    source: SourceImage
    build: Build


@dataclass(frozen=True, slots=True)
class SignedArtifacts:
    """What signing made.

    Args:
        subject: the converted image or index.
        referrers: artifacts attached to it, in push order: first the blobs of each, then its manifest under
            its tag. On a registry without the referrers API their `entries` are then merged into the fallback
            index.
        signature: the classic `.sig`, to be merged with what its tag holds.
    """

    subject: Descriptor
    referrers: tuple[Artifact, ...]
    signature: Artifact

    @property
    def fallback_tag(self) -> str:
        """The tag of the subject's fallback index."""
        return fallback_tag(self.subject.digest)

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """The entries for the subject's fallback index."""
        return tuple(referrer_descriptor(artifact.manifest) for artifact in self.referrers)


def sign_image(request: SigningRequest, signer: Signer) -> SignedArtifacts:
    """Makes the chunk-list artifacts, the three bundles and the classic signature of a converted image.

    Raises:
        InvalidRequestError: the layers of the manifest are not the blobs and the bootstrap, or a value cannot
            be written into a statement.
    """
    manifest, image = request.manifest, request.manifest.descriptor
    target = TargetImage(
        request.repository, manifest.digest, manifest.media_type, manifest.size, request.platform
    )
    try:
        chunks = ChunkManifest(
            target, request.source, request.bootstrap, tuple(blob for blob, _ in request.blobs),
            format_time(request.issued_at), tuple(layer for layer, _ in request.references),
        )  # fmt: skip
        chunks.check_image(manifest)
    except ValueError as error:  # a ChunkManifestError is one too
        raise InvalidRequestError(f"{manifest.digest} cannot be signed: {error}") from error
    distinct = {
        blob.digest: (blob, content) for blob, content in (*request.blobs, *request.references)
    }  # an image may hold a layer twice
    lists = [
        chunk_list_artifact(image, blob, content, _signed(blob_statement(blob), signer))
        for blob, content in distinct.values()
    ]
    statements = (
        sign_statement(request.repository, manifest.digest),
        chunk_manifest_statement(chunks),
        provenance_statement(
            request.repository, manifest.digest, request.source, request.build,
            [blob.chunk_list for blob, _ in distinct.values()],
        ),
    )  # fmt: skip
    return _artifacts(request.repository, image, lists, statements, signer)


def sign_index(request: IndexSigningRequest, signer: Signer) -> SignedArtifacts:
    """Makes the signature and provenance bundles and the classic signature of a converted index.

    Raises:
        InvalidRequestError: a value cannot be written into a statement.
    """
    digest = request.index.digest
    statements = (
        sign_statement(request.repository, digest),
        provenance_statement(request.repository, digest, request.source, request.build),
    )
    return _artifacts(request.repository, request.index.descriptor, [], statements, signer)


def _artifacts(
    repository: str,
    subject: Descriptor,
    lists: Sequence[Artifact],
    statements: Sequence[Statement],
    signer: Signer,
) -> SignedArtifacts:
    bundles = [
        bundle_artifact(subject, statement.predicate_type, _signed(statement, signer))
        for statement in statements
    ]
    return SignedArtifacts(subject, (*lists, *bundles), simple_signature(repository, subject.digest, signer))


def _signed(statement: Statement, signer: Signer) -> Bundle:
    return Bundle.sign(statement.encode(), signer)
