"""Verification of a converted image: does a trusted key vouch for its bytes, and for where they come from?

The rules are numbered in `signer.errors.Rule`. Rules 1 to 6 are applied here, and of the rule about content
what needs no mount: the chunk lists always, all stored bytes on demand. Freshness (a tag moved back to an
older signed image) and deny lists are not checked: they need statements and key files that this version does
not make. Each key given is trusted for every type of statement and without a limit in time.

A reference to an index is verified as a whole: the index has a signature and a provenance of its own, and
each of its children has to pass everything that a single image has to pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from converter.chunk_manifest import (
    BUILD_TYPE,
    PREDICATE_CHUNK_MANIFEST,
    ChunkManifest,
    ChunkManifestError,
)
from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    Manifest,
    OciError,
    contradict,
    media_types,
)
from signer.bootstrap_layer import check_stored_bootstrap
from signer.content import check_chunk_list, check_stored_blob
from signer.errors import MalformedError, Rule, VerificationError
from signer.evidence import Evidence, SignedStatement, collect, first_that_passes
from signer.keys import VerificationKey
from signer.provenance import DEFAULT_BUILDER_ID, PREDICATE_PROVENANCE, Provenance
from signer.report import ImageReport, IndexReport, VerificationReport
from signer.source import Source
from signer.statements import PREDICATE_SIGN

MAX_CHILDREN: Final = 512  # the service converts up to 256 images; a merged index lists each of them twice
_APPLIED: Final = (
    Rule.RESOLVE, Rule.BUNDLES, Rule.SIGNATURE, Rule.STATEMENT, Rule.CHUNK_MANIFEST, Rule.PROVENANCE,
    Rule.CONTENT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """What to believe.

    Args:
        keys: trusted public keys; one good signature by any of them is enough.
        repositories: names (with host) that the image may have been published under; the name it is pulled
            by, and the original's name where it is pulled from a mirror.
        builder_ids: trusted builders.
        source_digests: allowed digests of the source, its manifest's or its index's; None allows each.
    """

    keys: tuple[VerificationKey, ...]
    repositories: frozenset[str]
    builder_ids: frozenset[str] = frozenset({DEFAULT_BUILDER_ID})
    source_digests: frozenset[Digest] | None = None

    def __post_init__(self) -> None:
        if not self.keys or not self.repositories or not self.builder_ids:
            raise ValueError("a policy needs at least one key, one repository and one builder")


def verify_image(
    source: Source, repository: str, reference: str, policy: VerificationPolicy, *, deep: bool = False
) -> VerificationReport:
    """Verifies a converted image or index.

    Args:
        source: where to read.
        repository: as the source calls it, without host.
        reference: tag or digest.
        policy: keys and expected names.
        deep: read each blob and the bootstrap, and compare all bytes.

    Returns:
        What was found; every byte to be pulled must be pulled by the digests in it, not by the tag.

    Raises:
        VerificationError: a rule failed.
    """
    return _Verification(source, repository, policy, deep).run(reference)


@dataclass(frozen=True, slots=True)
class _Verification:
    """One run over one repository."""

    source: Source
    repository: str
    policy: VerificationPolicy
    deep: bool

    def run(self, reference: str) -> VerificationReport:
        named = self.source.resolve(self.repository, reference)
        if named is None:
            raise VerificationError(
                Rule.RESOLVE,
                f"there is no {reference} in the repository {self.repository}, or no such repository",
            )
        manifest = self._manifest(named.digest)
        if isinstance(manifest, ImageIndex):
            index = self._index(manifest)
            self._check_source(index.provenance.source_digest)
            children: dict[Digest, list[Descriptor]] = {}
            merged = any(entry.artifact_type == media_types.NYDUS_MANIFEST for entry in manifest.manifests)
            for entry in manifest.manifests:
                children.setdefault(entry.digest, []).append(entry)
            found = [self._child(entries, merged=merged) for entries in children.values()]
            images = tuple(image for image in found if isinstance(image, ImageReport))
            kept = tuple(image for image in found if isinstance(image, Digest))
        else:
            index, images, kept = None, (self._image(manifest),), ()
            origin = images[0].chunk_manifest.source
            self._check_source(origin.digest, origin.index_digest)
        return VerificationReport(reference, named.digest, index, images, self.deep, _APPLIED, kept)

    def _manifest(self, digest: Digest) -> Manifest:
        try:
            manifest = self.source.manifest(self.repository, str(digest))
        except OciError as error:
            raise VerificationError(Rule.RESOLVE, f"{digest} cannot be read: {error}") from error
        if manifest.digest != digest:
            raise VerificationError(Rule.RESOLVE, f"asked for {digest}, received {manifest.digest}")
        return manifest

    def _attached(self, digest: Digest) -> Sequence[Descriptor]:
        try:
            return self.source.referrers(self.repository, digest)
        except OciError as error:
            problem = f"what is attached to {digest} cannot be read: {error}"
            raise VerificationError(Rule.BUNDLES, problem) from error

    def _index(self, index: ImageIndex) -> IndexReport:
        if not 0 < len(index.manifests) <= MAX_CHILDREN:
            raise VerificationError(
                Rule.RESOLVE,
                f"the index {index.digest} has {len(index.manifests)} children, not 1…{MAX_CHILDREN}",
            )
        evidence = self._evidence(index.digest, self._attached(index.digest))
        signed = evidence.require(PREDICATE_SIGN)[0]
        origin, provenance = first_that_passes(
            evidence.require(PREDICATE_PROVENANCE), lambda item: (item, self._provenance(index, item, None))
        )
        return IndexReport(index.digest, (signed.signed_by, origin.signed_by), provenance)

    def _child(self, entries: Sequence[Descriptor], *, merged: bool) -> ImageReport | Digest:
        """An image of the index; or the digest of one that was not converted, which the index vouches for.

        Args:
            entries: all of the index that name the image.
            merged: whether only marked entries are conversions.
        """
        child = entries[0]
        if merged and all(entry.artifact_type != media_types.NYDUS_MANIFEST for entry in entries):
            return child.digest
        try:
            manifest = self._manifest(child.digest)
            if not isinstance(manifest, ImageManifest):
                raise VerificationError(Rule.RESOLVE, "it is an index itself")
            if any(layer.media_type in media_types.FOREIGN_LAYER_TYPES for layer in manifest.layers):
                return child.digest
            report = self._image(manifest)
            signed = report.chunk_manifest.target.platform
            if contradict(signed, [entry.platform for entry in entries]):
                raise VerificationError(Rule.CHUNK_MANIFEST, f"it was signed for {signed}")
        except VerificationError as error:
            platforms = ", ".join(str(entry.platform or "no platform") for entry in entries)
            place = f"child {child.digest} ({platforms})"
            raise VerificationError(error.rule, f"{place}: {error.reason}") from error
        return report

    def _image(self, manifest: ImageManifest) -> ImageReport:
        attached = self._attached(manifest.digest)
        evidence = self._evidence(manifest.digest, attached)
        signed = evidence.require(PREDICATE_SIGN)[0]
        described, chunks = first_that_passes(
            evidence.require(PREDICATE_CHUNK_MANIFEST),
            lambda item: (item, self._chunk_manifest(manifest, item)),
        )
        origin, provenance = first_that_passes(
            evidence.require(PREDICATE_PROVENANCE),
            lambda item: (item, self._provenance(manifest, item, chunks)),
        )
        self._content(manifest, chunks, attached)
        return ImageReport(
            manifest.digest, (signed.signed_by, described.signed_by, origin.signed_by), chunks, provenance
        )

    def _evidence(self, subject: Digest, attached: Sequence[Descriptor]) -> Evidence:
        return collect(self.source, self.repository, subject, self.policy.keys, attached)

    def _chunk_manifest(self, manifest: ImageManifest, signed: SignedStatement) -> ChunkManifest:
        """Rule 5."""
        try:
            chunks = ChunkManifest.from_predicate(signed.statement.predicate)
            chunks.check_image(manifest)
        except ChunkManifestError as error:
            raise VerificationError(Rule.CHUNK_MANIFEST, str(error)) from error
        if chunks.target.repository not in self.policy.repositories:
            names = ", ".join(sorted(self.policy.repositories))
            raise VerificationError(
                Rule.CHUNK_MANIFEST,
                f"it was signed for the repository {chunks.target.repository}, not {names}",
            )
        return chunks

    def _provenance(
        self, manifest: Manifest, signed: SignedStatement, chunks: ChunkManifest | None
    ) -> Provenance:
        """Rule 6."""
        try:
            provenance = Provenance.from_predicate(signed.statement.predicate)
        except MalformedError as error:
            raise VerificationError(Rule.PROVENANCE, str(error)) from error
        if provenance.build_type != BUILD_TYPE:
            raise VerificationError(
                Rule.PROVENANCE, f"its build type is {provenance.build_type}, not {BUILD_TYPE}"
            )
        if provenance.builder_id not in self.policy.builder_ids:
            raise VerificationError(
                Rule.PROVENANCE, f"its builder is {provenance.builder_id}, which is not trusted"
            )
        digest = provenance.source_digest
        claims = {"subject": manifest.subject.digest} if manifest.subject else {}
        if chunks:
            claims["chunk manifest"] = chunks.source.digest
        for name, claimed in claims.items():
            if claimed != digest:
                raise VerificationError(
                    Rule.PROVENANCE, f"its source is {digest}, but the {name} says {claimed}"
                )
        return provenance

    def _check_source(self, *sources: Digest | None) -> None:
        """Rule 6, for what the reference names; an index is bound to its children by its own signature."""
        allowed = self.policy.source_digests
        if allowed is not None and allowed.isdisjoint(sources):
            raise VerificationError(
                Rule.PROVENANCE, f"its source is {sources[0]}, which is not an allowed one"
            )

    def _content(
        self, manifest: ImageManifest, chunks: ChunkManifest, attached: Sequence[Descriptor]
    ) -> None:
        for blob in {blob.digest: blob for blob in (*chunks.blobs, *chunks.references)}.values():
            check_chunk_list(self.source, self.repository, blob, self.policy.keys, attached)
            if self.deep:
                check_stored_blob(self.source, self.repository, blob)
        if self.deep:
            check_stored_bootstrap(self.source, self.repository, manifest.layers[-1], chunks.bootstrap)
