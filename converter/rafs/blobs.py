"""The blobs of a bootstrap: the device table and the blob table."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from converter.errors import LimitExceededError
from converter.rafs.layout import (
    BLOCK_SIZE,
    DEVICE_ALIGNMENT,
    MAX_BLOBS,
    BlobFeature,
    Compressor,
    Digester,
    round_up,
)
from converter.rafs.records import BlobRecord, DeviceSlot

_MAX_BLOCK = 1 << 32


class ChunkColumns(Protocol):
    """Chunks of a blob in the order of their indexes, as the writer of the blob recorded them."""

    @property
    def digests(self) -> bytes | bytearray:
        """32 bytes each: digest of the uncompressed chunk."""

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
    digester: Digester = Digester.BLAKE3  # of the chunks
    # Of the table of contents with its header, where a blob table says where it is; zero for our own blobs,
    # of which readers find it by themselves.
    toc_size: int = 0
    toc_digest: bytes = bytes(32)
    # Of the blob with the index, where `blob_id` and `compressed_size` mean a layer of the source (§8.1).
    meta_digest: bytes = bytes(32)
    meta_size: int = 0

    @classmethod
    def of(cls, record: BlobRecord, chunks: ChunkColumns) -> BlobInfo:
        """What a bootstrap that was read says of a blob; the inverse of `record`.

        Args:
            record: a row of its blob table, checked.
            chunks: of the blob.
        """
        return cls(
            blob_id=record.blob_id.decode(),
            compressor=Compressor(record.compressor),
            features=BlobFeature(record.features),
            compressed_size=record.compressed_size,
            uncompressed_size=record.uncompressed_size,
            ci_compressor=Compressor(record.ci_compressor),
            ci_offset=record.ci_offset,
            ci_compressed_size=record.ci_compressed_size,
            ci_uncompressed_size=record.ci_uncompressed_size,
            chunks=chunks,
            digester=Digester(record.digester),
            toc_size=record.toc_size,
            toc_digest=record.toc_digest,
            meta_digest=record.meta_digest,
            meta_size=record.meta_size,
        )

    @property
    def blocks(self) -> int:
        """Blocks of the uncompressed address space."""
        return self.uncompressed_size // BLOCK_SIZE

    def record(self, index: int, chunk_size: int) -> BlobRecord:
        """The blob's row in the blob table."""
        return BlobRecord(
            blob_id=self.blob_id.encode(),
            index=index,
            chunk_size=chunk_size,
            chunk_count=len(self.chunks.uncompressed_size),
            compressor=self.compressor,
            digester=self.digester,
            features=self.features,
            compressed_size=self.compressed_size,
            uncompressed_size=self.uncompressed_size,
            toc_size=self.toc_size,
            ci_compressor=self.ci_compressor,
            ci_offset=self.ci_offset,
            ci_compressed_size=self.ci_compressed_size,
            ci_uncompressed_size=self.ci_uncompressed_size,
            toc_digest=self.toc_digest,
            meta_digest=self.meta_digest,
            meta_size=self.meta_size,
        )


def check_blobs(blobs: Sequence[BlobInfo]) -> None:
    """Checks what readers demand of the blobs of one bootstrap (§5.4).

    Raises:
        LimitExceededError: more than 254 blobs.
        ValueError: an id twice, or a blob without content.
    """
    if len(blobs) > MAX_BLOBS:
        raise LimitExceededError(f"{len(blobs)} data blobs are more than the {MAX_BLOBS} of RAFS")
    if len({blob.blob_id for blob in blobs}) != len(blobs):
        raise ValueError("the blob table would name a blob twice")
    if any(blob.blocks == 0 or blob.uncompressed_size % BLOCK_SIZE for blob in blobs):
        raise ValueError("a blob of the blob table has no chunks, or does not end at a block")


def device_slots(blobs: Sequence[BlobInfo], bootstrap_size: int) -> list[DeviceSlot]:
    """The device table of a bootstrap of `bootstrap_size` bytes: the blobs lie behind it one after the other.

    Raises:
        LimitExceededError: together they have more than 16 TiB of uncompressed data.
    """
    slots = []
    end = bootstrap_size
    for blob in blobs:
        start = round_up(end, DEVICE_ALIGNMENT)
        end = start + blob.blocks * BLOCK_SIZE
        if end // BLOCK_SIZE >= _MAX_BLOCK:
            raise LimitExceededError("the image has more than 16 TiB of data, too much for RAFS")
        slots.append(DeviceSlot(blob.blob_id.encode(), blob.blocks, start // BLOCK_SIZE))
    return slots
