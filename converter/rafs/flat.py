"""Lays a tree out as a plain EROFS file system in one file: metadata first, then the chunks themselves.

::

    0       1024 zero bytes, superblock, zeros      one block
    4096    inodes, xattrs, chunk indexes, directories, targets of symlinks: as in a bootstrap
    …       chunks, each at a block boundary, those of a file one behind the other where it is their first use

There are no tables of RAFS and no other devices: a chunk index with the device 0 means this file itself.
Linux mounts that from a loop device since it knows chunk-based files (5.15, fs/erofs/data.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.chunks import chunk_formats, list_uses
from converter.rafs.inodes import InodeWriter
from converter.rafs.layout import BLOCK_BITS, BLOCK_SIZE, CHUNK_INDEX, SUPERBLOCK_OFFSET, round_up
from converter.rafs.listing import Int64s, fill_blocks, list_names
from converter.rafs.nodes import column, order_nodes
from converter.rafs.placement import place
from converter.rafs.records import SuperBlock
from converter.tree import FileTree

INCOMPAT_CHUNKED_FILE: Final = 0x4
_MAX_BLOCKS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class FlatLayout:
    """A file system whose chunks are still to be written.

    Args:
        metadata: the file up to the first chunk, a multiple of 4096 bytes.
        rows: which rows of the chunk table follow, in this order, each filled up to a block.
        size: bytes of the whole file.
    """

    metadata: memoryview
    rows: Int64s
    size: int


def lay_out(
    tree: FileTree, chunk_rows: npt.NDArray[np.integer], chunks: npt.NDArray[Any], chunk_size: int
) -> FlatLayout:
    """Lays out a whole image. Chunks of equal digest are stored once, whatever blobs they come from.

    Args:
        tree: the merged files.
        chunk_rows: for each item of the tree's `chunk_refs`, its row in `chunks`.
        chunks: rows of `layout.CHUNK_RECORD`, of which digest and uncompressed size are used.
        chunk_size: bytes of a chunk.

    Raises:
        LimitExceededError: the file would have more than 16 TiB.
    """
    listing = list_names(tree)
    directories = fill_blocks(listing)
    nodes = order_nodes(tree, listing, directories.size, chunk_size)
    heads = nodes.head_sizes()
    placement = place(zip(nodes.shape.tolist(), heads.tolist(), nodes.data_size.tolist(), strict=True))
    start = round_up(placement.end, BLOCK_SIZE)
    node, position, use = list_uses(tree, nodes)
    rows, offset, end = _place_chunks(chunk_rows[use], chunks, start)
    if end >> BLOCK_BITS >= _MAX_BLOCKS:
        raise LimitExceededError(f"a file system of {end} bytes in one file is over the limit of 16 TiB")

    out = np.zeros(start, np.uint8)
    names = int(np.count_nonzero(~listing.entry_is_dot)) + 1
    # Not of RAFS, so without its mark; and no device table, so without a place of it.
    head = SuperBlock(
        feature_compat=0, inodes=names, blocks=end >> BLOCK_BITS, feature_incompat=INCOMPAT_CHUNKED_FILE,
        device_table_slot=0,
    )  # fmt: skip
    out.data[SUPERBLOCK_OFFSET : SUPERBLOCK_OFFSET + SuperBlock.STRUCT.size] = head.encode()
    writer = InodeWriter(out, 0, tree, nodes, placement)
    sizes = column(tree.size)[nodes.inode].astype(np.int64)
    one_device = np.zeros(len(node), np.uint16)
    writer.write_inodes(chunk_formats(sizes, nodes.chunk_count, node, one_device, offset, chunk_size))
    entries = np.zeros(len(node), CHUNK_INDEX)
    entries["block"] = offset >> BLOCK_BITS
    writer.write_chunk_indexes(node, position, entries)
    writer.write_symlinks()
    writer.write_directories(listing, directories)
    return FlatLayout(out.data, rows, end)


def _place_chunks(
    wanted: npt.NDArray[np.integer], chunks: npt.NDArray[Any], start: int
) -> tuple[Int64s, Int64s, int]:
    """Gives each distinct chunk a place, in the order of first use.

    Returns:
        The rows in the order of their places, the offset for each item of `wanted`, and where the last ends.
    """
    if not len(wanted):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), start
    words = chunks["digest"].copy().view(np.uint64).reshape(-1, 4)
    _, same = np.unique(words, axis=0, return_inverse=True)
    same = same.reshape(-1)  # numpy 2.0 gives it another shape than later ones
    _, first, number = np.unique(same[wanted], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rows = wanted[first[order]].astype(np.int64)
    sizes = chunks["uncompressed_size"][rows].astype(np.int64)
    ends = start + np.cumsum(-(-sizes // BLOCK_SIZE) * BLOCK_SIZE)
    place_of = np.empty(len(order), np.int64)
    place_of[order] = np.concatenate([[start], ends[:-1]])
    return rows, place_of[number], int(ends[-1])
