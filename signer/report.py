"""What a verification found, for people and programs; it exists only when no rule failed."""

from __future__ import annotations

from dataclasses import dataclass

from converter.chunk_manifest import ChunkManifest
from converter.oci import Digest
from signer.errors import Rule
from signer.provenance import Provenance


@dataclass(frozen=True, slots=True)
class SignedBy:
    """One statement that was accepted: its predicate type, and the hint of the key that signed it."""

    predicate_type: str
    key_hint: str
    bundle: Digest


@dataclass(frozen=True, slots=True)
class ImageReport:
    """One image manifest.

    Args:
        digest: of the converted image.
        signatures: the statements that were accepted.
        chunk_manifest: the signed facts: source digest, repository and tag, bootstrap, blobs.
        provenance: the signed facts about the build.
    """

    digest: Digest
    signatures: tuple[SignedBy, ...]
    chunk_manifest: ChunkManifest
    provenance: Provenance

    @property
    def chunk_count(self) -> int:
        """Chunks of all blobs together; a blob that is two layers counts once."""
        return sum(
            blob.chunk_count for blob in {blob.digest: blob for blob in self.chunk_manifest.blobs}.values()
        )


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The index over the images."""

    digest: Digest
    signatures: tuple[SignedBy, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The whole of one verification.

    Args:
        reference: tag or digest that was asked for.
        digest: what it named.
        index: where it named an index.
        images: the one image, or each image of the index in order.
        deep: whether all stored bytes were read and compared.
        rules: the rules that were applied; all of them passed.
        kept: images that stand in the index as the source has them: because they have layers that may not be
            distributed, or because the index offers them beside their conversions. Nobody signed them; the
            index, which was signed, names them by digest.
    """

    reference: str
    digest: Digest
    index: IndexReport | None
    images: tuple[ImageReport, ...]
    deep: bool
    rules: tuple[Rule, ...]
    kept: tuple[Digest, ...] = ()
