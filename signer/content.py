"""The rule about content: chunk lists are the signed ones, and stored bytes are what the lists say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, Protocol

from converter.chunk_manifest import (
    PREDICATE_BLOB,
    BlobChunks,
    BlobStatement,
    ChunkListReader,
    ChunkManifestError,
    SegmentKind,
)
from converter.oci import Descriptor, Digest, media_types
from signer.attach import ANNOTATION_BLOB, chunk_list_tag
from signer.errors import Rule, VerificationError
from signer.evidence import first_that_passes, open_bundle, open_content, read_manifest
from signer.keys import VerificationKey
from signer.source import Source

MAX_LIST_ARTIFACTS: Final = 8
MAX_LIST_BUNDLES: Final = 8


def check_chunk_list(
    source: Source,
    repository: str,
    blob: BlobChunks,
    keys: Sequence[VerificationKey],
    attached: Sequence[Descriptor] = (),
) -> None:
    """Checks a blob's chunk list: where readers look, signed on its own, and the one of the signed root.

    Args:
        source: where to read.
        repository: of the image.
        blob: the signed facts.
        keys: that are trusted.
        attached: referrers of the image; its own chunk-list artifact counts too, in case the tag has moved on
            to one that is signed by another key.

    Raises:
        VerificationError: there is no artifact for the blob, or none that passes, or the list is not the
            signed one.
    """
    artifacts = _list_artifacts(source, repository, blob.digest, attached)
    if not artifacts:
        raise VerificationError(Rule.CONTENT, f"there is no chunk list of {blob.digest}")
    first_that_passes(artifacts, lambda digest: _check_artifact(source, repository, digest, blob, keys))
    with _open_list(source, repository, blob) as reader:
        blob.check_list(reader.read_all())


def check_stored_blob(source: Source, repository: str, blob: BlobChunks) -> None:
    """Reads a blob once, from end to end, and checks each record of its list, its size and its digest.

    Raises:
        VerificationError: any byte differs from what is signed; the first place is named.
    """
    descriptor = Descriptor(media_types.NYDUS_BLOB, blob.digest, blob.size)
    with (
        open_content(source, repository, descriptor, Rule.CONTENT) as stream,
        _open_list(source, repository, blob) as reader,
    ):
        whole, offset = sha256(), 0
        for number, segment in enumerate(segment for batch in reader for segment in batch):
            stored = read_up_to(stream, segment.length)
            if len(stored) != segment.length or sha256(stored).digest() != segment.sha256:
                kind = "chunk" if segment.kind is SegmentKind.CHUNK else "stretch"
                raise VerificationError(
                    Rule.CONTENT,
                    f"blob {blob.digest}: the {kind} of record {number}, {segment.length} bytes at {offset},"
                    " is not what its chunk list says",
                )
            whole.update(stored)
            offset += segment.length
        blob.check_list(reader.summary)
        if stream.read(1) or whole.hexdigest() != blob.digest.hex:
            raise VerificationError(Rule.CONTENT, f"blob {blob.digest} does not have the bytes of its digest")


def _list_artifacts(
    source: Source, repository: str, blob: Digest, attached: Sequence[Descriptor]
) -> list[Digest]:
    """Where the list of a blob may be: under the blob's tag first, then among the image's referrers."""
    named = source.resolve(repository, chunk_list_tag(blob))
    found = [named.digest] if named is not None else []
    found += [item.digest for item in attached if item.annotations.get(ANNOTATION_BLOB) == str(blob)]
    return list(dict.fromkeys(found))[:MAX_LIST_ARTIFACTS]


def _check_artifact(
    source: Source, repository: str, digest: Digest, blob: BlobChunks, keys: Sequence[VerificationKey]
) -> None:
    """Checks that an artifact holds the signed list, and a statement about the blob that agrees with it."""
    manifest = read_manifest(source, repository, digest)
    if manifest is None:
        raise VerificationError(Rule.CONTENT, f"the chunk list artifact {digest} of {blob.digest} is missing")
    lists = [layer for layer in manifest.layers if layer.media_type == media_types.CHUNK_LIST]
    bundles = [layer for layer in manifest.layers if layer.media_type == media_types.SIGSTORE_BUNDLE]
    wanted = (blob.chunk_list.digest, blob.chunk_list.size)
    if [(item.digest, item.size) for item in lists] != [wanted] or not 0 < len(bundles) <= MAX_LIST_BUNDLES:
        raise VerificationError(
            Rule.CONTENT,
            f"the artifact {digest} does not hold the signed list of {blob.digest} and its bundle",
        )
    first_that_passes(bundles, lambda layer: _check_bundle(source, repository, layer, blob, keys))


def _check_bundle(
    source: Source, repository: str, layer: Descriptor, blob: BlobChunks, keys: Sequence[VerificationKey]
) -> None:
    statement = open_bundle(source, repository, layer, blob.digest, keys).statement
    if statement.predicate_type != PREDICATE_BLOB:
        raise VerificationError(Rule.STATEMENT, f"bundle {layer.digest} is a {statement.predicate_type}")
    try:
        described = BlobStatement.from_predicate(statement.predicate)
    except ChunkManifestError as error:
        raise VerificationError(Rule.CONTENT, f"bundle {layer.digest}: {error}") from error
    if described != BlobStatement.of(blob):
        raise VerificationError(
            Rule.CONTENT, f"bundle {layer.digest} and the chunk manifest disagree about {blob.digest}"
        )


@contextmanager
def _open_list(source: Source, repository: str, blob: BlobChunks) -> Iterator[ChunkListReader]:
    """The signed chunk list of a blob; what is wrong with it breaks the rule about content."""
    with open_content(source, repository, blob.chunk_list, Rule.CONTENT) as stream:
        try:
            reader = ChunkListReader(stream)
            if reader.record_count != blob.record_count:
                raise VerificationError(
                    Rule.CONTENT,
                    f"chunk list of {blob.digest}: it has {reader.record_count} records,"
                    f" signed are {blob.record_count}",
                )
            yield reader
        except ChunkManifestError as error:
            raise VerificationError(Rule.CONTENT, f"chunk list of {blob.digest}: {error}") from error


class Readable(Protocol):
    """Anything to read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def read_up_to(stream: Readable, size: int) -> bytes:
    """Reads `size` bytes, or fewer where the stream ends."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
