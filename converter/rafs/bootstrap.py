"""Writes bootstraps."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from converter.rafs.layout import BlobFeature, Compressor
from converter.tree import FileTree


class ChunkColumns(Protocol):
    """Chunks of a blob in the order of their indexes, as the writer of the blob recorded them."""

    @property
    def digests(self) -> bytes | bytearray:
        """32 bytes each: BLAKE3-256 of the uncompressed chunk."""

    @property
    def uncompressed_size(self) -> array[int]:
        """Bytes of each uncompressed chunk."""

    @property
    def compressed_size(self) -> array[int]:
        """Bytes of each stored chunk; equal to the uncompressed size if it is stored as it is."""

    @property
    def uncompressed_offset(self) -> array[int]:
        """Where each chunk lies in the blob's uncompressed address space."""

    @property
    def compressed_offset(self) -> array[int]:
        """Where each chunk lies in the blob."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a bootstrap says about a data blob (§3.6)."""

    blob_id: str  # 64 hexadecimal digits, or UNKNOWN_BLOB_ID
    compressor: Compressor
    features: BlobFeature
    compressed_size: int  # of what lies before the inlined bootstrap
    uncompressed_size: int  # of the uncompressed address space, a multiple of 4096
    ci_compressor: Compressor
    ci_offset: int
    ci_compressed_size: int
    ci_uncompressed_size: int
    chunks: ChunkColumns


def encode_bootstrap(
    tree: FileTree, blobs: Sequence[BlobInfo], *, compressor: Compressor, chunk_size: int
) -> memoryview:
    """Lays a tree out as a bootstrap.

    For the bootstrap inside a layer blob pass that one blob (none if it has no chunks). There, whiteouts become
    empty files named `.wh.*` as the reference builder writes them (§4.3), and links to lower layers are left
    out.

    Args:
        tree: the tree; `blob` of each regular file is an index into `blobs`.
        blobs: the blob table, in order.
        compressor: what the superblock says of the chunks.
        chunk_size: bytes of a chunk of every blob; a power of two.

    Returns:
        The bootstrap as bytes ("B" format), a multiple of 4096 long.

    Raises:
        LimitExceededError: something does not fit into the format.
    """
    raise NotImplementedError
