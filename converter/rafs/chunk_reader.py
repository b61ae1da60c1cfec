"""Reads the chunk indexes of files, and holds them against the chunk table (§3.7 "Chunk index entry")."""

from __future__ import annotations

import stat
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.chunks import chunk_formats
from converter.rafs.inode_area import Inodes
from converter.rafs.layout import BLOCK_BITS, CHUNK_INDEX
from converter.rafs.listing import Int64s
from converter.tree import FileTree


def read_chunks(
    view: memoryview,
    tree: FileTree,
    inodes: Inodes,
    behind: Int64s,
    chunks: npt.NDArray[Any],
    chunk_size: int,
) -> None:
    """Reads which chunks each file has.

    Args:
        view: the whole file.
        tree: gets `chunk_blob`, `chunk_refs`, `first_chunk` and `chunk_count`.
        inodes: of the tree, in its order.
        behind: where the inodes with their xattrs end.
        chunks: the chunk table, checked.
        chunk_size: of all blobs.

    Raises:
        BootstrapError: indexes lie outside the file, or contradict the chunk table or the sizes of files.
    """
    room = len(view) // CHUNK_INDEX.itemsize
    sizes = np.where(inodes["mode"] >> 12 == stat.S_IFREG >> 12, inodes["size"], 0)
    if sizes.max() > room * chunk_size:
        raise BootstrapError(
            f"the bootstrap has no room for the chunk indexes of a file of {sizes.max()} bytes"
        )
    sizes = sizes.astype(np.int64)
    counts = -(-sizes // chunk_size)
    first = (behind + CHUNK_INDEX.itemsize - 1) // CHUNK_INDEX.itemsize
    if counts.sum() > room or (first + counts).max() > room:
        raise BootstrapError("chunk indexes overlap, or go on behind the end")
    file = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    within = np.arange(len(file)) - start[file]
    rows = _find_rows(np.frombuffer(view, CHUNK_INDEX)[first[file] + within], chunks)
    if (chunks["uncompressed_size"][rows] != np.minimum(sizes[file] - within * chunk_size, chunk_size)).any():
        raise BootstrapError("the chunks of a file do not add up to its size")
    offsets = chunks["uncompressed_offset"][rows].astype(np.int64)
    blobs = chunks["blob_index"][rows].astype(np.uint16)
    formats = chunk_formats(sizes, counts, file, blobs, offsets, chunk_size)
    if (inodes["i_u"] != formats)[inodes["mode"] >> 12 == stat.S_IFREG >> 12].any():
        raise BootstrapError("a file has a chunk format that does not go with its chunks")
    _fill(tree.first_chunk, start.astype(np.uint32))
    _fill(tree.chunk_count, counts.astype(np.uint32))
    _fill(tree.chunk_blob, blobs)
    _fill(tree.chunk_refs, chunks["index"][rows])


def _find_rows(index: npt.NDArray[Any], chunks: npt.NDArray[Any]) -> Int64s:
    """The row of the chunk table for each chunk index."""
    keys = chunks["blob_index"].astype(np.int64) << 32 | chunks["index"]
    order = np.argsort(keys)
    wanted = (index["device"].astype(np.int64) - 1) << 32
    wanted |= index["index_high"].astype(np.int64) << 16 | index["index_low"]
    found = np.searchsorted(keys[order], wanted)
    if len(found) and found.max() < len(keys):
        rows = order[found]
        block = chunks["uncompressed_offset"][rows] >> BLOCK_BITS
        if (keys[rows] == wanted).all() and (block == index["block"]).all():
            return rows
    if len(found):
        raise BootstrapError("a file uses a chunk that the chunk table does not have, or has elsewhere")
    return np.zeros(0, np.int64)


def _fill(column: array[int], values: npt.NDArray[Any]) -> None:
    del column[:]
    column.frombytes(np.ascontiguousarray(values).tobytes())
