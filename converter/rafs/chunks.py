"""Chunk indexes behind inodes, and the chunk table (§3.7 "Chunk index entry", §3.8)."""

from __future__ import annotations

from collections.abc import Sequence
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
    CHUNK_RECORD,
    MAX_CHUNK_INDEX,
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

    node: Int64s
    position: Int64s
    blob: Int64s
    index: Int64s
    offset: Int64s


def collect_references(tree: FileTree, nodes: Nodes, blobs: Sequence[BlobInfo]) -> ChunkReferences:
    """Lists the chunks that the files of a tree use.

    Raises:
        LimitExceededError: a blob has more chunks than an index can count.
        ValueError: a file uses a chunk that its blob does not have.
    """
    first_row = np.zeros(len(blobs) + 1, np.int64)  # of each blob, if the chunks of all stood in one table
    np.cumsum([len(blob.chunks.uncompressed_size) for blob in blobs], out=first_row[1:])
    if len(blobs) and np.diff(first_row).max() > MAX_CHUNK_INDEX + 1:
        raise LimitExceededError(f"a blob has more than {MAX_CHUNK_INDEX + 1} chunks; use larger chunks")
    node = np.repeat(np.arange(len(nodes.inode)), nodes.chunk_count)
    position = np.arange(len(node)) - np.repeat(
        np.cumsum(nodes.chunk_count) - nodes.chunk_count, nodes.chunk_count
    )
    inode = nodes.inode[node]
    index = column(tree.chunk_refs)[column(tree.first_chunk)[inode] + position].astype(np.int64)
    blob = column(tree.blob)[inode].astype(np.int64)
    if len(blob) and (blob.max() >= len(blobs) or (index >= np.diff(first_row)[blob]).any()):
        raise ValueError("a file uses a chunk that is not in the table of its blob")
    offsets = [column(blob.chunks.uncompressed_offset).astype(np.int64) for blob in blobs]
    offset = np.concatenate([np.zeros(0, np.int64), *offsets])[first_row[blob] + index]
    return ChunkReferences(node, position, blob, index, offset)


def drop_unused_blobs(
    references: ChunkReferences, blobs: Sequence[BlobInfo]
) -> tuple[ChunkReferences, list[BlobInfo]]:
    """Leaves the blobs that files use, in the order of their first use, and numbers them anew."""
    used, first_use = np.unique(references.blob, return_index=True)
    order = used[np.argsort(first_use)]
    new_index = np.zeros(len(blobs), np.int64)
    new_index[order] = np.arange(len(order))
    return replace(references, blob=new_index[references.blob]), [blobs[index] for index in order.tolist()]


def chunk_formats(sizes: Int64s, counts: Int64s, file: Int64s, offsets: Int64s, chunk_size: int) -> Int64s:
    """What `i_u` of each file says of its chunks.

    A file whose chunks follow each other in one blob is one large chunk for the kernel, which then looks at
    the first index only.

    Args:
        sizes: bytes of each file.
        counts: chunks of each file.
        file: for each use of a chunk, the row of the file; those of one file together and in order.
        offsets: for each use, where the chunk lies in the uncompressed address space.
        chunk_size: bytes of a chunk.
    """
    formats = np.full(len(sizes), _chunk_format(chunk_size), np.int64)
    broken = (file[1:] == file[:-1]) & (offsets[1:] != offsets[:-1] + chunk_size)
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


def encode_chunk_table(
    references: ChunkReferences, blobs: Sequence[BlobInfo], chunk_size: int
) -> npt.NDArray[Any]:
    """The chunk table: a record of 80 bytes for each chunk in use, sorted by digest, then blob.

    The flag for a CRC is never set: a reader that sees it checks nothing but the CRC.
    """
    # Turned round, the first use that `unique` finds is the last one: the reference builder records that.
    keys = (references.blob << 32 | references.index)[::-1]
    used, last = np.unique(keys, return_index=True)
    records = np.zeros(len(used), CHUNK_RECORD)
    blob, index = used >> 32, used & 0xFFFFFFFF
    records["blob_index"] = blob
    records["index"] = index
    records["file_offset"] = references.position[::-1][last] * chunk_size
    ends = np.searchsorted(blob, np.arange(len(blobs) + 1)).tolist()
    for info, start, end in zip(blobs, ends, ends[1:], strict=False):
        rows, wanted = slice(start, end), index[start:end]
        columns = info.chunks
        records["digest"][rows] = np.frombuffer(columns.digests, "V32")[wanted]
        records["compressed_size"][rows] = column(columns.compressed_size)[wanted]
        records["uncompressed_size"][rows] = column(columns.uncompressed_size)[wanted]
        records["compressed_offset"][rows] = column(columns.compressed_offset)[wanted]
        records["uncompressed_offset"][rows] = column(columns.uncompressed_offset)[wanted]
    records["flags"] = np.where(
        records["compressed_size"] < records["uncompressed_size"], CHUNK_COMPRESSED, 0
    )
    digest = np.frombuffer(records["digest"].tobytes(), ">u8").reshape(-1, 4)
    return records[np.lexsort((blob, digest[:, 3], digest[:, 2], digest[:, 1], digest[:, 0]))]
