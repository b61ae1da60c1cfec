"""Writes bootstraps (§3).

Everything is placed first, in columns, and then written into one buffer. Only the placement and what few
files have (symlinks, xattrs) go file by file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converter.rafs.blobs import BlobInfo, check_blobs, device_slots
from converter.rafs.chunks import (
    ChunkTable,
    chunk_formats,
    collect_references,
    drop_unused_blobs,
    encode_indexes,
)
from converter.rafs.inodes import InodeWriter
from converter.rafs.layout import (
    BLOB_RECORD_SIZE,
    BLOCK_SIZE,
    CHUNK_RECORD,
    COMPRESSOR_FLAG,
    DEVICE_SLOT_SIZE,
    DEVICE_TABLE_OFFSET,
    DIGESTER_FLAG,
    EXTENDED_SUPERBLOCK_OFFSET,
    PREFETCH_ENTRY,
    SLOT_SIZE,
    SUPERBLOCK_OFFSET,
    BlobFeature,
    Compressor,
    Digester,
    SuperFlag,
    round_up,
)
from converter.rafs.listing import fill_blocks, list_names
from converter.rafs.nodes import Nodes, column, order_nodes
from converter.rafs.placement import Placement, place
from converter.rafs.records import ExtendedSuperBlock, SuperBlock
from converter.tree import FileTree


@dataclass(frozen=True, slots=True)
class Sections:
    """Where the parts of a bootstrap begin, in bytes (§3.1)."""

    blob_count: int
    metadata_size: int  # from the gap before the root inode to the end of the last inode's data
    chunk_count: int
    prefetch_count: int

    @property
    def blob_table(self) -> int:
        """The blob table; 4096 even if it is empty."""
        return round_up(DEVICE_TABLE_OFFSET + self.blob_count * DEVICE_SLOT_SIZE, BLOCK_SIZE)

    @property
    def blob_table_size(self) -> int:
        """Bytes of the blob table."""
        return self.blob_count * BLOB_RECORD_SIZE

    @property
    def prefetch_table(self) -> int:
        """The prefetch table, or 0 if there is none."""
        return self.blob_table + self.blob_table_size if self.prefetch_count else 0

    @property
    def prefetch_table_size(self) -> int:
        """Bytes of the prefetch table."""
        return self.prefetch_count * PREFETCH_ENTRY.itemsize

    @property
    def metadata(self) -> int:
        """The gap before the root inode. Without blobs that is the superblock's own block."""
        if not self.blob_count:
            return 0
        return round_up(self.blob_table + self.blob_table_size + self.prefetch_table_size, BLOCK_SIZE)

    @property
    def chunk_table(self) -> int:
        """The chunk table."""
        return round_up(self.metadata + self.metadata_size, BLOCK_SIZE)

    @property
    def chunk_table_size(self) -> int:
        """Bytes of the chunk table."""
        return self.chunk_count * CHUNK_RECORD.itemsize

    @property
    def end(self) -> int:
        """Bytes of the bootstrap."""
        return round_up(self.chunk_table + self.chunk_table_size, BLOCK_SIZE)


def encode_bootstrap(
    tree: FileTree,
    blobs: Sequence[BlobInfo],
    *,
    compressor: Compressor,
    chunk_size: int,
    digester: Digester = Digester.BLAKE3,
    prefetch: Sequence[int] = (FileTree.ROOT,),
) -> memoryview:
    """Lays a tree out as a bootstrap.

    Blobs that no file uses are left out of the blob table; the others come in the order of their first use,
    as the reference builder has them (§4.4). In the bootstrap of a single layer, whiteouts are empty files
    named `.wh.*` (§4.3), and links to lower layers are left out.

    Args:
        tree: the tree; `chunk_blob` has indexes into `blobs`.
        blobs: all blobs that files may use.
        compressor: what the superblock says of the chunks.
        chunk_size: bytes of a chunk of every blob; a power of two.
        digester: digest of the chunks of every blob.
        prefetch: inodes of directories and files that the prefetch table lists. Without blobs there is
            nothing to fetch, and no such table.

    Returns:
        The bootstrap as bytes ("B" format), a multiple of 4096 long.

    Raises:
        LimitExceededError: something does not fit into the format.
        ValueError: tree and blobs contradict each other.
    """
    tree = tree.with_whiteout_files()
    listing = list_names(tree)
    directories = fill_blocks(listing)
    nodes = order_nodes(tree, listing, directories.size, chunk_size)
    head_sizes = nodes.head_sizes()
    placement = place(zip(nodes.shape.tolist(), head_sizes.tolist(), nodes.data_size.tolist(), strict=True))
    references, blobs = drop_unused_blobs(collect_references(tree, nodes, blobs), blobs)
    check_blobs(blobs)
    chunk_table = ChunkTable(references, blobs)
    nids = _nids(tree, nodes, placement, prefetch if blobs else ())
    sections = Sections(len(blobs), placement.end, len(chunk_table), len(nids))

    out = np.zeros(sections.end, np.uint8)
    flags = _flags(blobs, compressor, digester) | (SuperFlag.HAS_XATTR if nodes.xattrs else 0)
    names = int(np.count_nonzero(~listing.entry_is_dot)) + 1
    _write_head(out.data, sections, blobs, flags, names, chunk_size)
    out[sections.prefetch_table :][: sections.prefetch_table_size].view(PREFETCH_ENTRY)[:] = nids
    metadata = out[sections.metadata : sections.metadata + round_up(placement.end, BLOCK_SIZE)]
    writer = InodeWriter(metadata, sections.metadata, tree, nodes, placement)
    sizes = column(tree.size)[nodes.inode].astype(np.int64)
    formats = chunk_formats(
        sizes, nodes.chunk_count, references.node, references.blob, references.offset, chunk_size
    )
    writer.write_inodes(formats)
    writer.write_chunk_indexes(references.node, references.position, encode_indexes(references))
    writer.write_symlinks()
    writer.write_directories(listing, directories)
    end = sections.chunk_table + sections.chunk_table_size
    chunk_table.write(out[sections.chunk_table : end].view(CHUNK_RECORD), chunk_size)
    return out.data


def _nids(
    tree: FileTree, nodes: Nodes, placement: Placement, inodes: Sequence[int]
) -> npt.NDArray[np.uint32]:
    nid = np.zeros(len(tree), np.uint32)
    nid[nodes.inode] = column(placement.inodes) // SLOT_SIZE
    return nid[list(inodes)]


def _flags(blobs: Sequence[BlobInfo], compressor: Compressor, digester: Digester) -> SuperFlag:
    flags = (
        COMPRESSOR_FLAG[compressor]
        | DIGESTER_FLAG[digester]
        | SuperFlag.EXPLICIT_UID_GID
        | SuperFlag.NOT_ENCRYPTED
    )
    if all(blob.features & BlobFeature.INLINED_CHUNK_DIGEST for blob in blobs):
        flags |= SuperFlag.INLINED_CHUNK_DIGEST
    return flags


def _write_head(
    out: memoryview, sections: Sections, blobs: Sequence[BlobInfo], flags: int, names: int, chunk_size: int
) -> None:
    """Writes superblocks, device table and blob table."""

    def write(offset: int, data: bytes) -> None:
        out[offset : offset + len(data)] = data

    slots = device_slots(blobs, sections.end)  # checks that all blobs together fit into the numbers below
    super_block = SuperBlock(
        inodes=names,
        blocks=sum(blob.blocks for blob in blobs),
        meta_block=sections.metadata // BLOCK_SIZE,
        devices=len(blobs),
    )
    write(SUPERBLOCK_OFFSET, super_block.encode())
    extended = ExtendedSuperBlock(
        flags=flags,
        blob_table_offset=sections.blob_table,
        blob_table_size=sections.blob_table_size,
        chunk_size=chunk_size,
        chunk_table_offset=sections.chunk_table,
        chunk_table_size=sections.chunk_table_size,
        prefetch_table_offset=sections.prefetch_table,
        prefetch_table_size=sections.prefetch_table_size,
    )
    write(EXTENDED_SUPERBLOCK_OFFSET, extended.encode())
    for index, (blob, slot) in enumerate(zip(blobs, slots, strict=True)):
        write(DEVICE_TABLE_OFFSET + index * DEVICE_SLOT_SIZE, slot.encode())
        write(sections.blob_table + index * BLOB_RECORD_SIZE, blob.record(index, chunk_size).encode())
