"""What is signed about one data blob: its entry in a chunk manifest, and a statement of its own.

nydusd asks for blobs by digest and names no image, so whoever stands in between has to find the tree of a
blob from the blob's digest alone. That is what the statement is for. It names no image and no time: the same
blob always gives the same bytes, and the same signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from converter.chunk_manifest.chunk_list import HEADER_SIZE, RECORD_SIZE, ChunkListSummary
from converter.chunk_manifest.errors import InvalidChunkManifestError
from converter.chunk_manifest.fields import Fields, digest_set
from converter.chunk_manifest.merkle import HASH_SIZE
from converter.oci import Descriptor, Digest, media_types

PREDICATE_BLOB: Final = "https://dragonhook.dev/blob-chunk-list/v1"
TREE: Final = "rfc6962-sha256"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class BlobChunks:
    """One data blob, its tree and its chunk list.

    Args:
        digest: of the blob.
        size: of the blob in bytes.
        compressor: of its chunks, "zstd" or "none".
        chunk_count: records of the list that are chunks.
        root_hash: RFC 6962 root over the list's records, 32 bytes.
        chunk_list: the list; its size tells the number of records.
    """

    digest: Digest
    size: int
    compressor: str
    chunk_count: int
    root_hash: bytes
    chunk_list: Descriptor

    def __post_init__(self) -> None:
        _check_tree(self.size, self.chunk_count, self.root_hash, self.chunk_list)

    @property
    def record_count(self) -> int:
        """Number of the list's records, which is the number of leaves of the tree."""
        return (self.chunk_list.size - HEADER_SIZE) // RECORD_SIZE

    def check_list(self, summary: ChunkListSummary) -> None:
        """Checks that a list which was read is the one named here.

        Raises:
            InvalidChunkManifestError: any of its facts differs.
        """
        pairs = {
            "blob": (self.digest, summary.blob),
            "blob size": (self.size, summary.blob_size),
            "root hash": (self.root_hash.hex(), summary.root_hash.hex()),
            "chunk count": (self.chunk_count, summary.chunk_count),
            "list digest": (self.chunk_list.digest, summary.descriptor.digest),
            "list size": (self.chunk_list.size, summary.descriptor.size),
        }
        for name, (wanted, found) in pairs.items():
            if wanted != found:
                raise InvalidChunkManifestError(
                    f"chunk list of {self.digest}: its {name} is {found}, signed is {wanted}"
                )

    def to_json(self) -> dict[str, Any]:
        """The object in `blobs`."""
        return {"digest": digest_set(self.digest), "size": self.size, "compressor": self.compressor,
                **_tree_json(self.chunk_count, self.root_hash, self.chunk_list)}  # fmt: skip

    @classmethod
    def from_json(cls, fields: Fields) -> BlobChunks:
        """Reads an object of `blobs`.

        Raises:
            InvalidChunkManifestError: a field is missing, malformed or contradicts another.
        """
        return cls(
            fields.digest("digest"),
            fields.integer("size"),
            fields.text("compressor"),
            *_tree_from_json(fields),
        )


@dataclass(frozen=True, slots=True)
class BlobStatement:
    """What is signed about one blob on its own; the blob's digest is the statement's subject."""

    size: int
    chunk_count: int
    root_hash: bytes
    chunk_list: Descriptor

    def __post_init__(self) -> None:
        _check_tree(self.size, self.chunk_count, self.root_hash, self.chunk_list)

    @classmethod
    def of(cls, blob: BlobChunks) -> BlobStatement:
        """The statement that goes with an entry of a chunk manifest."""
        return cls(blob.size, blob.chunk_count, blob.root_hash, blob.chunk_list)

    def to_predicate(self) -> dict[str, Any]:
        """The predicate of type `PREDICATE_BLOB`."""
        return {"schema": SCHEMA, "size": self.size,
                **_tree_json(self.chunk_count, self.root_hash, self.chunk_list)}  # fmt: skip

    @classmethod
    def from_predicate(cls, value: object) -> BlobStatement:
        """Reads a predicate of type `PREDICATE_BLOB`.

        Raises:
            InvalidChunkManifestError: unknown schema, or a field is missing or malformed.
        """
        fields = Fields(value, "blob statement").schema(SCHEMA)
        return cls(fields.integer("size"), *_tree_from_json(fields))


def _check_tree(size: int, chunk_count: int, root_hash: bytes, chunk_list: Descriptor) -> None:
    records, rest = divmod(chunk_list.size - HEADER_SIZE, RECORD_SIZE)
    if rest or records < 0 or chunk_list.media_type != media_types.CHUNK_LIST:
        raise InvalidChunkManifestError(
            f"{chunk_list.digest} ({chunk_list.media_type}, {chunk_list.size} bytes) is not a chunk list"
        )
    if len(root_hash) != HASH_SIZE:
        raise InvalidChunkManifestError(f"the root hash of {chunk_list.digest} has {len(root_hash)} bytes")
    # A list without records over a blob with bytes would vouch for none of them.
    if (records == 0) != (size == 0) or not 0 <= chunk_count <= records:
        raise InvalidChunkManifestError(
            f"{chunk_list.digest}: {records} records, {chunk_count} of them chunks,"
            f" over a blob of {size} bytes"
        )


def _tree_json(chunk_count: int, root_hash: bytes, chunk_list: Descriptor) -> Mapping[str, Any]:
    return {
        "chunkCount": chunk_count, "tree": TREE, "rootHash": root_hash.hex(),
        "list": {
            "digest": digest_set(chunk_list.digest), "size": chunk_list.size,
            "mediaType": chunk_list.media_type,
        },
    }  # fmt: skip


def _tree_from_json(fields: Fields) -> tuple[int, bytes, Descriptor]:
    if (tree := fields.text("tree")) != TREE:
        raise InvalidChunkManifestError(f"{fields.name}: unknown tree {tree!r}")
    listed = fields.child("list")
    chunk_list = Descriptor(listed.text("mediaType"), listed.digest("digest"), listed.integer("size"))
    return fields.integer("chunkCount"), fields.hash("rootHash"), chunk_list
