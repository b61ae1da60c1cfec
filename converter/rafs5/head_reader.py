"""Reads the tables of a RAFS v5 bootstrap that stand in front of its inodes (§9.1, §9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.features import unsupported_features
from converter.rafs.flags_reader import read_flags
from converter.rafs.head_reader import MAX_COMPRESSED, MAX_UNCOMPRESSED, check_blob_id, check_chunk_size
from converter.rafs.layout import (
    CHUNK_RECORD,
    MAX_BLOBS,
    MAX_CHUNK_INDEX,
    BlobFeature,
    Compressor,
    Digester,
)
from converter.rafs.records import BlobRecord
from converter.rafs5.layout import (
    ALIGNMENT,
    BLOB_ENTRY_HEAD_SIZE,
    INODE,
    INODE_TABLE_ENTRY_SIZE,
    PREFETCH_ENTRY_SIZE,
    SUPERBLOCK_SIZE,
    ExtendedBlob,
    SuperBlock,
)

# What concerns the chunk info of a blob cannot be: it has none.
_NOT_HERE: Final = int(BlobFeature.CHUNK_INFO_V2 | BlobFeature.ZRAN | BlobFeature.SEPARATE)


@dataclass(frozen=True, slots=True)
class Head:
    """The tables, checked."""

    super_block: SuperBlock
    compressor: Compressor
    digester: Digester
    blobs: tuple[BlobRecord, ...]
    positions: npt.NDArray[np.int64]  # of the inodes, in bytes
    prefetch: list[int]  # numbers of inodes


def read_head(view: memoryview) -> Head:
    """Reads all tables.

    Args:
        view: the whole bootstrap.

    Raises:
        BootstrapError: they break the format, or use a part of it that is not supported.
    """
    super_block = SuperBlock.decode(bytes(view[: SuperBlock.STRUCT.size]))
    if super_block.superblock_size != SUPERBLOCK_SIZE or any(view[SuperBlock.STRUCT.size : SUPERBLOCK_SIZE]):
        raise BootstrapError("the superblock is not one of RAFS v5")
    if len(view) % ALIGNMENT or len(view) % CHUNK_RECORD.alignment:
        raise BootstrapError(f"a bootstrap of RAFS v5 cannot have {len(view)} bytes")
    compressor, digester = read_flags(super_block.flags)
    check_chunk_size(super_block.chunk_size)
    prefetch = _table(
        view, super_block.prefetch_table_offset, super_block.prefetch_table_entries * PREFETCH_ENTRY_SIZE,
        "prefetch table",
    )  # fmt: skip
    return Head(
        super_block,
        compressor,
        digester,
        _read_blobs(view, super_block, compressor, digester),
        _read_positions(view, super_block),
        prefetch.cast("I").tolist(),
    )


def _table(view: memoryview, offset: int, size: int, what: str) -> memoryview:
    if not size:
        return view[:0]
    if offset % ALIGNMENT or offset < SUPERBLOCK_SIZE or offset + size > len(view):
        raise BootstrapError(f"the {what} of {size} bytes at {offset} is not inside the file, or not aligned")
    return view[offset : offset + size]


def _read_positions(view: memoryview, super_block: SuperBlock) -> npt.NDArray[np.int64]:
    count = super_block.inode_table_entries
    if not count or count * INODE.itemsize > len(view):
        raise BootstrapError(f"the file has no room for {count} inodes, or not even a root")
    table = _table(view, super_block.inode_table_offset, count * INODE_TABLE_ENTRY_SIZE, "inode table")
    positions = np.frombuffer(table, "<u4").astype(np.int64) * ALIGNMENT
    if positions.min() < SUPERBLOCK_SIZE or positions.max() + INODE.itemsize > len(view):
        raise BootstrapError("the inode table has an inode outside the file, or in the superblock")
    return positions


def _read_blobs(
    view: memoryview, super_block: SuperBlock, compressor: Compressor, digester: Digester
) -> tuple[BlobRecord, ...]:
    ids = _read_ids(
        bytes(_table(view, super_block.blob_table_offset, super_block.blob_table_size, "blob table"))
    )
    size = super_block.extended_entries * ExtendedBlob.STRUCT.size
    extended = _table(view, super_block.extended_offset, size, "extended blob table")
    if len(ids) != super_block.extended_entries:
        raise BootstrapError(
            f"there are {len(ids)} blobs, and {super_block.extended_entries} descriptions of them"
        )
    blobs = []
    for index, blob_id in enumerate(ids):
        row = extended[index * ExtendedBlob.STRUCT.size : (index + 1) * ExtendedBlob.STRUCT.size]
        more = ExtendedBlob.decode(bytes(row))
        _check_blob(blob_id, more)
        blobs.append(
            BlobRecord(
                blob_id=blob_id,
                index=index,
                chunk_size=super_block.chunk_size,
                chunk_count=more.chunk_count,
                compressor=compressor,
                digester=digester,
                features=more.features,
                compressed_size=more.compressed_size,
                uncompressed_size=more.uncompressed_size,
                toc_size=0,
                ci_compressor=0,
                ci_offset=0,
                ci_compressed_size=0,
                ci_uncompressed_size=0,
            )
        )
    if len(set(ids)) != len(ids):
        raise BootstrapError("a blob is named twice")
    return tuple(blobs)


def _read_ids(table: bytes) -> list[bytes]:
    ids: list[bytes] = []
    at = 0
    while at + BLOB_ENTRY_HEAD_SIZE < len(table):
        at += BLOB_ENTRY_HEAD_SIZE
        end = table.find(b"\0", at)
        end = len(table) if end < 0 else end
        ids.append(table[at:end])
        at = end + 1
        if len(ids) > MAX_BLOBS:
            raise BootstrapError(f"the image has more than {MAX_BLOBS} blobs")
    if any(table[at:]) or len(table) % ALIGNMENT:
        raise BootstrapError("the blob table does not end with an id and zeros")
    return ids


def _check_blob(blob_id: bytes, blob: ExtendedBlob) -> None:
    check_blob_id(blob_id)
    problem = unsupported_features(blob.features)
    if problem or blob.features & _NOT_HERE:
        raise BootstrapError(f"the blob {blob_id.decode()} {problem or 'has features of RAFS v6'}")
    if (
        blob.chunk_count > MAX_CHUNK_INDEX + 1
        or blob.uncompressed_size > MAX_UNCOMPRESSED
        or blob.compressed_size > MAX_COMPRESSED
        or any(blob.reserved)
    ):
        raise BootstrapError(f"the blob {blob_id.decode()} has numbers that cannot be: {blob}")
