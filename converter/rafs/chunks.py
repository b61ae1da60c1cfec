"""Chunk indexes behind inodes, and the chunk table (§3.7 "Chunk index entry", §3.8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import (
    BLOCK_BITS,
    CHUNK_COMPRESSED,
    CHUNK_FORMAT_INDEXES,
    CHUNK_INDEX,
    MAX_CHUNK_INDEX,
    BlobFeature,
)
from converter.rafs.listing import Int64s
from converter.rafs.nodes import Nodes, column
from converter.tree import FileTree


@dataclass(frozen=True, slots=True)
class ChunkReferences:
    """Every use of a chunk by a file: files in placement order, in each file from its start.

    Attributes:
        node: row of the file among the nodes.
        position: which chunk of the file it is.
        blob: index of the blob.
        index: the chunk's index in that blob.
        offset: where it lies in the blob's uncompressed address space.
    """

    node: npt.NDArray[np.uint32]
    position: npt.NDArray[np.uint32]
    blob: npt.NDArray[np.uint16]
    index: npt.NDArray[np.uint32]
    offset: Int64s


def collect_references(tree: FileTree, nodes: Nodes, blobs: Sequence[BlobInfo]) -> ChunkReferences:
    """Lists the chunks that the files of a tree use.

    Raises:
        LimitExceededError: a blob has more chunks than an index can count.
        ValueError: a file uses a chunk that its blob does not have.
    """
    counts = [len(blob.chunks.uncompressed_size) for blob in blobs]
    if max(counts, default=0) > MAX_CHUNK_INDEX + 1:
        raise LimitExceededError(f"a blob has more than {MAX_CHUNK_INDEX + 1} chunks; use larger chunks")
    node, position, use = list_uses(tree, nodes)
    index = column(tree.chunk_refs)[use]
    blob = column(tree.chunk_blob)[use]
    if len(blob) and (blob.max() >= len(blobs) or (index >= np.array(counts)[blob]).any()):
        raise ValueError("a file uses a chunk that is not in the table of its blob")
    # The chunks of all blobs as one table, in which those of a blob begin at `first`.
    first = np.cumsum([0, *counts])
    offsets = [column(info.chunks.uncompressed_offset) for info in blobs]
    offset = np.concatenate([np.zeros(0, np.uint64), *offsets])[first[blob] + index].astype(np.int64)
    return ChunkReferences(node, position, blob, index, offset)


def list_uses(
    tree: FileTree, nodes: Nodes
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Every use of a chunk by a file, as in `ChunkReferences`.

    Returns:
        The row of the file among the nodes, which chunk of the file it is, and which item of the tree's
        `chunk_refs`.
    """
    node = np.repeat(np.arange(len(nodes.inode), dtype=np.uint32), nodes.chunk_count)
    ends = np.cumsum(nodes.chunk_count, dtype=np.int64)
    position = np.arange(len(node)) - np.repeat(ends - nodes.chunk_count, nodes.chunk_count)
    use = column(tree.first_chunk)[nodes.inode[node]] + position
    return node, position.astype(np.uint32), use


def drop_unused_blobs(
    references: ChunkReferences, blobs: Sequence[BlobInfo]
) -> tuple[ChunkReferences, list[BlobInfo]]:
    """Leaves the blobs that files use, in the order of their first use, and numbers them anew."""
    used, first_use = np.unique(references.blob, return_index=True)
    order = used[np.argsort(first_use)]
    new_index = np.zeros(len(blobs), np.uint16)
    new_index[order] = np.arange(len(order))
    return replace(references, blob=new_index[references.blob]), [blobs[index] for index in order.tolist()]


def chunk_formats(
    sizes: Int64s,
    counts: npt.NDArray[np.integer],
    file: npt.NDArray[np.integer],
    blobs: npt.NDArray[np.integer],
    offsets: Int64s,
    chunk_size: int,
) -> npt.NDArray[np.uint32]:
    """What `i_u` of each file says of its chunks.

    A file whose chunks follow each other in one blob is one large chunk for the kernel, which then looks at
    the first index only.

    Args:
        sizes: bytes of each file.
        counts: chunks of each file.
        file: for each use of a chunk, the row of the file; those of one file together and in order.
        blobs: for each use, the blob.
        offsets: for each use, where the chunk lies in the uncompressed address space.
        chunk_size: bytes of a chunk.
    """
    formats = np.full(len(sizes), _chunk_format(chunk_size), np.uint32)
    apart = (blobs[1:] != blobs[:-1]) | (offsets[1:] != offsets[:-1] + chunk_size)
    broken = (file[1:] == file[:-1]) & apart
    whole = counts > 1
    whole[file[1:][broken]] = False
    for row in np.flatnonzero(whole).tolist():
        formats[row] = _chunk_format(1 << (int(sizes[row]) - 1).bit_length())
    return formats


def _chunk_format(chunk_size: int) -> int:
    return CHUNK_FORMAT_INDEXES | (chunk_size.bit_length() - 1 - BLOCK_BITS)


def encode_indexes(references: ChunkReferences) -> npt.NDArray[Any]:
    """The index entries (8 bytes each) of all references."""
    entries = np.zeros(len(references.node), CHUNK_INDEX)
    entries["index_low"] = references.index & 0xFFFF
    entries["index_high"] = references.index >> 16
    entries["device"] = references.blob + 1
    entries["block"] = references.offset >> BLOCK_BITS
    return entries


class ChunkTable:
    """The chunk table: a record of 80 bytes for each chunk in use, sorted by digest, then blob.

    The flag for a CRC is never set: a reader that sees it checks nothing but the CRC.

    Args:
        references: all uses of chunks.
        blobs: the blob table.
    """

    def __init__(self, references: ChunkReferences, blobs: Sequence[BlobInfo]) -> None:
        self._blobs = blobs
        # Turned round, the first use that `unique` finds is the last one: the reference builder records that.
        keys = (references.blob.astype(np.int64) << 32 | references.index)[::-1]
        used, last_use = np.unique(keys, return_index=True)
        self._position = references.position[::-1][last_use]
        self._index = (used & 0xFFFFFFFF).astype(np.uint32)
        self._ends = np.searchsorted(used >> 32, np.arange(len(blobs) + 1)).tolist()
        self._row = self._sort()

    def __len__(self) -> int:
        """Records of the table."""
        return len(self._index)

    def write(self, records: npt.NDArray[Any], chunk_size: int) -> None:
        """Writes the table into zeroed rows of `layout.CHUNK_RECORD`."""
        for number, (blob, chunks) in enumerate(self._used()):
            rows, index, table = self._row[chunks], self._index[chunks], blob.chunks
            compressed, uncompressed = column(table.compressed_size), column(table.uncompressed_size)
            records["digest"][rows] = np.frombuffer(table.digests, "V32")[index]
            records["blob_index"][rows] = number
            # In a gzip file a chunk is compressed even where that makes it larger.
            shrunk = (compressed < uncompressed) | bool(blob.features & BlobFeature.ZRAN)
            records["flags"][rows] = np.where(shrunk, CHUNK_COMPRESSED, 0)[index]
            records["compressed_size"][rows] = compressed[index]
            records["uncompressed_size"][rows] = uncompressed[index]
            records["compressed_offset"][rows] = column(table.compressed_offset)[index]
            records["uncompressed_offset"][rows] = column(table.uncompressed_offset)[index]
            records["file_offset"][rows] = self._position[chunks].astype(np.uint64) * chunk_size
            records["index"][rows] = index

    def _used(self) -> Iterator[tuple[BlobInfo, slice]]:
        """Each blob, and which of the used chunks are its own."""
        for blob, start, end in zip(self._blobs, self._ends, self._ends[1:], strict=False):
            yield blob, slice(start, end)

    def _sort(self) -> Int64s:
        """The row of each used chunk in the sorted table."""
        words = np.zeros((4, len(self)), np.uint64)  # digests as four numbers, most significant last
        for blob, chunks in self._used():
            digests = np.frombuffer(blob.chunks.digests, ">u8").reshape(-1, 4)
            words[:, chunks] = digests[self._index[chunks]].T[::-1]
        row = np.empty(len(self), np.int64)
        # The sort is stable, and the chunks stand in the order of their blobs.
        row[np.lexsort(words)] = np.arange(len(self))
        return row
