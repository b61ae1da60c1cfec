"""A registry in memory that behaves as Distribution does: no referrers API, last write to a tag wins."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    Manifest,
    WrongContentError,
    fallback_tag,
    media_types,
    parse_manifest,
)
from signer import SignedArtifacts, merge_referrers, merge_simple_signatures
from tests.signer.synthetic import SyntheticImage


class MemoryRegistry:
    """One repository. It hands out what it holds without checking digests, as a broken registry might."""

    def __init__(self) -> None:
        self.tags: dict[str, Digest] = {}
        self.manifests: dict[Digest, bytes] = {}
        self.blobs: dict[Digest, bytes] = {}
        self.blob_reads: list[Digest] = []
        self.broken: set[Digest] = set()  # blobs that a checking client finds wrong

    # What a verifier uses.

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        digest = Digest.parse(reference) if ":" in reference else self.tags.get(reference)
        if digest is None or digest not in self.manifests:
            return None
        raw = self.manifests[digest]
        return Descriptor(parse_manifest(raw).media_type, digest, len(raw))

    def manifest(self, repository: str, reference: str) -> Manifest:
        found = self.resolve(repository, reference)
        assert found is not None, f"{reference} does not exist"
        return parse_manifest(self.manifests[found.digest])

    @contextmanager
    def open_blob(self, repository: str, descriptor: Descriptor) -> Iterator[BinaryIO]:
        self.blob_reads.append(descriptor.digest)
        if descriptor.digest in self.broken:
            raise WrongContentError(f"{descriptor.digest}: expected another size")
        yield io.BytesIO(self.blobs[descriptor.digest])

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        index_digest = self.tags.get(fallback_tag(digest))
        if index_digest is None:
            return []
        index = parse_manifest(self.manifests[index_digest])
        assert isinstance(index, ImageIndex)
        return list(index.manifests)

    # What a publisher uses.

    def put_manifest(self, raw: bytes, tag: str | None = None) -> Digest:
        digest = Digest.of(raw)
        self.manifests[digest] = raw
        if tag:
            self.tags[tag] = digest
        return digest

    def tagged(self, tag: str) -> bytes | None:
        digest = self.tags.get(tag)
        return None if digest is None else self.manifests[digest]

    def push_image(self, image: SyntheticImage, tag: str | None = None) -> None:
        self.blobs.update(image.blobs)
        self.put_manifest(image.manifest.raw, tag)

    def push_signed(self, signed: SignedArtifacts) -> None:
        signature = merge_simple_signatures(self.tagged(signed.signature.tag), signed.signature)
        for artifact in (*signed.referrers, signature):
            for blob in artifact.blobs:
                content = blob.content.read_bytes() if isinstance(blob.content, Path) else blob.content
                assert (Digest.of(content), len(content)) == (blob.descriptor.digest, blob.descriptor.size)
                self.blobs[blob.descriptor.digest] = content
            assert all(layer.digest in self.blobs for layer in artifact.manifest.layers)
            self.put_manifest(artifact.manifest.raw, artifact.tag)
        merged = merge_referrers(self.tagged(signed.fallback_tag), signed.entries)
        assert parse_manifest(merged).media_type == media_types.OCI_INDEX
        self.put_manifest(merged, signed.fallback_tag)
