"""Writes bootstraps of RAFS v5 (§9).

Sections in their order, each at a multiple of 8::

    superblock            8192 bytes
    inode table           4 bytes for each name: offset of its record / 8
    prefetch table        4 bytes for each entry: an inode number
    blob table            for each blob two numbers and its id, separated by a NUL
    extended blob table   64 bytes for each blob
    inodes                of variable length
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.blobs import BlobInfo
from converter.rafs.chunks import ChunkReferences, collect_references, drop_unused_blobs
from converter.rafs.layout import (
    CHUNK_COMPRESSED,
    CHUNK_RECORD,
    COMPRESSOR_FLAG,
    DIGESTER_FLAG,
    MAX_BLOBS,
    Compressor,
    Digester,
    SuperFlag,
    round_up,
)
from converter.rafs.listing import fill_blocks, list_names
from converter.rafs.nodes import column, order_nodes
from converter.rafs5.digests import inode_digests
from converter.rafs5.inodes import MAX_BOOTSTRAP_SIZE, InodeWriter
from converter.rafs5.layout import (
    ALIGNMENT,
    BLOB_ENTRY_HEAD_SIZE,
    INODE_TABLE_ENTRY_SIZE,
    SUPERBLOCK_SIZE,
    ExtendedBlob,
    SuperBlock,
)
from converter.rafs5.names import number_names
from converter.tree import FileTree


def encode_bootstrap(
    tree: FileTree,
    blobs: Sequence[BlobInfo],
    *,
    compressor: Compressor,
    chunk_size: int,
    digester: Digester,
    prefetch: Sequence[int],
) -> memoryview:
    """Lays a tree out as a bootstrap; arguments and rules as of `converter.rafs.bootstrap.encode_bootstrap`.

    Returns:
        The bootstrap as bytes ("B" format), a multiple of 8 long.

    Raises:
        LimitExceededError: something does not fit into the format.
        ValueError: tree and blobs contradict each other.
    """
    tree = tree.with_whiteout_files()
    listing = list_names(tree)
    nodes = order_nodes(tree, listing, fill_blocks(listing).size, chunk_size)
    references, blobs = drop_unused_blobs(collect_references(tree, nodes, blobs), blobs)
    if len(blobs) > MAX_BLOBS:
        raise LimitExceededError(f"{len(blobs)} data blobs are more than the {MAX_BLOBS} of RAFS")
    names = number_names(tree, listing)
    writer = InodeWriter(tree, nodes, names)
    number = np.zeros(len(tree), np.uint32)
    number[nodes.inode] = nodes.number
    tables = _Tables(len(names.inode), number[list(prefetch if blobs else ())], blobs)

    if tables.end + writer.size > MAX_BOOTSTRAP_SIZE:
        raise LimitExceededError(f"the bootstrap has {tables.end + writer.size} bytes, too many for RAFS v5")
    out = np.zeros(tables.end + writer.size, np.uint8)
    flags = COMPRESSOR_FLAG[compressor] | DIGESTER_FLAG[digester] | SuperFlag.EXPLICIT_UID_GID
    if nodes.xattrs:
        flags |= SuperFlag.HAS_XATTR
    head = tables.encode(flags, len(nodes.inode) - 1, chunk_size, tables.end + writer.offset)
    out[: len(head)] = np.frombuffer(head, np.uint8)
    chunks = _chunk_records(references, blobs, chunk_size)
    writer.write(out[tables.end :], inode_digests(tree, nodes, names, chunks["digest"], digester), chunks)
    return out.data


class _Tables:
    """Everything in front of the inodes."""

    def __init__(self, names: int, prefetch: npt.NDArray[np.uint32], blobs: Sequence[BlobInfo]) -> None:
        self._names = names
        self._prefetch = prefetch.astype("<u4")
        self._blobs = blobs
        self._blob_table = _padded(
            b"\0".join(bytes(BLOB_ENTRY_HEAD_SIZE) + blob.blob_id.encode() for blob in blobs)
        )
        self._prefetch_offset = SUPERBLOCK_SIZE + round_up(INODE_TABLE_ENTRY_SIZE * names, ALIGNMENT)
        self._blob_offset = self._prefetch_offset + round_up(self._prefetch.nbytes, ALIGNMENT)
        self._extended_offset = self._blob_offset + len(self._blob_table)
        self.end = self._extended_offset + len(blobs) * ExtendedBlob.STRUCT.size

    def encode(self, flags: int, inodes: int, chunk_size: int, offsets: npt.NDArray[np.int64]) -> bytes:
        """The bytes of all.

        Args:
            flags: of the superblock.
            inodes: how many there are beside the root.
            chunk_size: of all blobs.
            offsets: of each name's record, in the bootstrap.
        """
        super_block = SuperBlock(
            chunk_size=chunk_size,
            flags=flags,
            inodes=inodes,
            inode_table_offset=SUPERBLOCK_SIZE,
            prefetch_table_offset=self._prefetch_offset,
            blob_table_offset=self._blob_offset,
            inode_table_entries=self._names,
            prefetch_table_entries=len(self._prefetch),
            blob_table_size=len(self._blob_table),
            extended_entries=len(self._blobs),
            extended_offset=self._extended_offset,
        )
        extended = (
            ExtendedBlob(
                chunk_count=len(blob.chunks.uncompressed_size),
                features=blob.features,
                uncompressed_size=blob.uncompressed_size,
                compressed_size=blob.compressed_size,
            )
            for blob in self._blobs
        )
        return b"".join(
            (
                super_block.encode(),
                _padded((offsets // ALIGNMENT).astype("<u4").tobytes()),
                _padded(self._prefetch.tobytes()),
                self._blob_table,
                *(record.encode() for record in extended),
            )
        )


def _chunk_records(
    references: ChunkReferences, blobs: Sequence[BlobInfo], chunk_size: int
) -> npt.NDArray[Any]:
    """The record of every use of a chunk."""
    records = np.zeros(len(references.node), CHUNK_RECORD)
    records["blob_index"] = references.blob
    records["uncompressed_offset"] = references.offset
    records["file_offset"] = references.position.astype(np.uint64) * chunk_size
    records["index"] = references.index
    for number, blob in enumerate(blobs):
        rows = np.flatnonzero(references.blob == number)
        index, table = references.index[rows], blob.chunks
        compressed, uncompressed = (
            column(table.compressed_size)[index],
            column(table.uncompressed_size)[index],
        )
        records["digest"][rows] = np.frombuffer(table.digests, "V32")[index]
        records["flags"][rows] = np.where(compressed < uncompressed, CHUNK_COMPRESSED, 0)
        records["compressed_size"][rows] = compressed
        records["uncompressed_size"][rows] = uncompressed
        records["compressed_offset"][rows] = column(table.compressed_offset)[index]
    return records


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
