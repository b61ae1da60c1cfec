"""Reads the chunk table of a RAFS v6 bootstrap (§3.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.head_reader import MAX_COMPRESSED, MAX_UNCOMPRESSED, section
from converter.rafs.layout import BLOCK_SIZE, CHUNK_RECORD, BlobFeature
from converter.rafs.records import BlobRecord, ExtendedSuperBlock

_COMPRESSED: Final = 0x1
_HAS_CRC: Final = 0x10


def read_chunk_table(
    view: memoryview, extended: ExtendedSuperBlock, blobs: tuple[BlobRecord, ...]
) -> npt.NDArray[Any]:
    """Reads the chunk table and checks each row of it.

    Args:
        view: the whole bootstrap.
        extended: its extended superblock.
        blobs: its blob table, checked.

    Returns:
        Rows of `layout.CHUNK_RECORD`.

    Raises:
        BootstrapError: it lies outside the file, or a row cannot be.
    """
    rows = section(
        view, extended.chunk_table_offset, extended.chunk_table_size, CHUNK_RECORD.itemsize, "chunk table"
    )
    chunks = np.frombuffer(bytes(rows), CHUNK_RECORD)
    check_chunks(chunks, blobs, extended.chunk_size, BLOCK_SIZE)
    return chunks


def check_chunks(
    chunks: npt.NDArray[Any], blobs: Sequence[BlobRecord], chunk_size: int, alignment: int
) -> None:
    """Checks chunk records against the blobs in which the chunks lie.

    Args:
        chunks: rows of `layout.CHUNK_RECORD`.
        blobs: the blob table.
        chunk_size: most bytes of a chunk.
        alignment: of chunks in the uncompressed address space.

    Raises:
        BootstrapError: a row cannot be.
    """
    if not len(chunks):
        return
    blob = chunks["blob_index"]
    if blob.max() >= len(blobs):
        raise BootstrapError("a chunk is in a blob that the blob table does not have")
    in_gzip = np.array([bool(b.features & BlobFeature.ZRAN) for b in blobs])[blob]
    end = chunks["uncompressed_offset"] + chunks["uncompressed_size"]
    compressed = chunks["flags"] & _COMPRESSED == _COMPRESSED
    shrunk = chunks["compressed_size"] < chunks["uncompressed_size"]
    wrong = (
        (chunks["index"] >= np.array([b.chunk_count for b in blobs], np.uint64)[blob])
        | (end > np.array([b.uncompressed_size for b in blobs], np.uint64)[blob])
        | (chunks["uncompressed_offset"] > MAX_UNCOMPRESSED)
        | (chunks["uncompressed_offset"] % alignment != 0)
        | (chunks["uncompressed_size"] == 0)
        | (chunks["uncompressed_size"] > chunk_size)
        | (chunks["compressed_offset"] > MAX_COMPRESSED)
        # What a chunk takes of a gzip file is no size of the chunk alone: it can be more than its content.
        | (~in_gzip & (chunks["compressed_size"] > chunks["uncompressed_size"]))
        | (chunks["flags"] & ~np.uint32(_COMPRESSED | _HAS_CRC) != 0)
        | (~in_gzip & (compressed != shrunk))
    )
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BootstrapError(f"row {row} of the chunk table has numbers that cannot be: {chunks[row]}")
