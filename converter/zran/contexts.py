"""The chunks of a layer that stays as it is, and the inflate contexts to read them with (§8.2, §8.3).

The uncompressed chunk info table of a gzip layer, all integers little-endian::

    chunk info, version 2     24 bytes a chunk
    inflate contexts          40 bytes each
    dictionaries              one behind the other, in the order of the contexts

A client inflates a whole context to get at one chunk in it, so a context ends where its last chunk does.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.blob.chunk_info_v2 import CHUNK_INFO_V2, FLAG_COMPRESSED, FLAG_ZRAN, INFLATE_CONTEXT
from converter.blob.chunk_table import ChunkTable
from converter.rafs.layout import MAX_CHUNK_INFO_SIZE
from converter.zran.errors import NotReferenceableError
from converter.zran.gzip_index import Checkpoint, GzipIndex

MAX_CONTEXT_OUTPUT: Final = 16 << 20  # nydusd's limit (nydus-storage 0.6.2 src/cache/mod.rs)

_MAX_STORED_SIZE: Final = (1 << 24) - 1  # 24 bits

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """An encoded chunk info table.

    Args:
        encoded: the uncompressed table.
        contexts: offset in the table, bytes (dictionaries included) and number of the inflate contexts.
    """

    encoded: bytes
    contexts: tuple[int, int, int]


def plain_chunk_info(table: ChunkTable, offsets: array[int]) -> ChunkInfo:
    """The table of a layer that is a tar as it is.

    Args:
        table: the chunks; gets its columns about the stored chunks.
        offsets: where each chunk begins in the tar.
    """
    table.compressed_offset[:] = offsets
    table.compressed_size[:] = table.uncompressed_size
    return ChunkInfo(_encode_chunks(table, 0, np.zeros(len(table), np.uint64)), (0, 0, 0))


def gzip_chunk_info(table: ChunkTable, offsets: array[int], index: GzipIndex) -> ChunkInfo:
    """The table of a gzip layer.

    Args:
        table: the chunks, in the order of the tar; gets its columns about the stored chunks.
        offsets: where each chunk begins in the tar.
        index: of the layer.

    Raises:
        NotReferenceableError: a chunk cannot be read from the layer.
    """
    starts = _int64s(offsets)
    ends = starts + _int64s(table.uncompressed_size)
    _check_members(starts, ends, index)
    checkpoints = _int64s(array("Q", (point.out_offset for point in index.checkpoints)))
    # Of several checkpoints at one offset the last one counts: only empty members lie between them.
    used, chosen = np.unique(np.searchsorted(checkpoints, starts, "right") - 1, return_inverse=True)
    last = np.searchsorted(chosen, np.arange(len(used)), "right") - 1  # chunk of each context
    points = [index.checkpoints[number] for number in used.tolist()]
    contexts = _contexts(points, ends[last], index)
    _fill_stored_columns(table, starts, ends, index)
    data = chosen.astype(np.uint64) << np.uint64(32) | (starts - checkpoints[used][chosen]).astype(np.uint64)
    chunks = _encode_chunks(table, FLAG_COMPRESSED | FLAG_ZRAN, data)
    records = contexts.tobytes() + b"".join(point.window for point in points)
    if len(chunks) + len(records) > MAX_CHUNK_INFO_SIZE:
        raise NotReferenceableError(f"its index would have {len(chunks) + len(records)} bytes")
    return ChunkInfo(chunks + records, (len(chunks), len(records), len(contexts)))


def _check_members(starts: Int64s, ends: Int64s, index: GzipIndex) -> None:
    """Checks that each chunk ends inside the gzip member in which it begins, where a client can read it."""
    member = np.searchsorted(_int64s(index.member_ends), starts, "right")
    outside = ends > _int64s(index.usable_ends)[member]
    if outside.any():
        raise NotReferenceableError(
            f"a file's content at {starts[np.argmax(outside)]} in its tar goes on to the end of a gzip member"
        )


def _contexts(points: Sequence[Checkpoint], ends: Int64s, index: GzipIndex) -> npt.NDArray[Any]:
    """The records of contexts that begin at checkpoints, and go on to `ends` in the tar.

    Raises:
        NotReferenceableError: one is larger than clients take.
    """
    contexts = np.zeros(len(points), INFLATE_CONTEXT)
    contexts["in_offset"] = [point.in_offset for point in points]
    contexts["out_offset"] = [point.out_offset for point in points]
    contexts["in_size"] = _stored_ends(ends, index) - contexts["in_offset"].astype(np.int64)
    sizes = ends - contexts["out_offset"].astype(np.int64)
    if sizes.max() > MAX_CONTEXT_OUTPUT:
        raise NotReferenceableError(
            f"its deflate blocks are so large that {sizes.max()} bytes would have to be inflated for a chunk,"
            f" over nydusd's limit of {MAX_CONTEXT_OUTPUT}"
        )
    contexts["out_size"] = sizes
    windows = np.array([len(point.window) for point in points], np.int64)
    contexts["dict_offset"] = np.cumsum(windows) - windows
    contexts["dict_size"] = windows
    contexts["byte"] = [point.byte for point in points]
    contexts["bits"] = [point.bits for point in points]
    return contexts


def _stored_ends(ends: Int64s, index: GzipIndex) -> Int64s:
    """How much of the layer is needed to have the tar up to some offsets."""
    return _int64s(index.in_offsets)[np.searchsorted(_int64s(index.out_offsets), ends)]


def _fill_stored_columns(table: ChunkTable, starts: Int64s, ends: Int64s, index: GzipIndex) -> None:
    """Estimates where the chunks lie in the layer. Clients only decide by it what to read together."""
    first = _estimate(starts, index)
    size = np.clip(_estimate(ends, index) - first, 1, _MAX_STORED_SIZE)
    table.compressed_offset[:] = array("Q", first.astype(np.uint64).tobytes())
    table.compressed_size[:] = array("I", size.astype(np.uint32).tobytes())


def _estimate(offsets: Int64s, index: GzipIndex) -> Int64s:
    """Offsets in the layer for offsets in the tar, as if all of a deflate block shrank alike."""
    stored, plain = _int64s(index.in_offsets), _int64s(index.out_offsets)
    after = np.searchsorted(plain, offsets, "right")
    after = np.minimum(after, len(plain) - 1)
    before = after - 1
    width = np.maximum(plain[after] - plain[before], 1)
    estimate: Int64s = stored[before] + (offsets - plain[before]) * (stored[after] - stored[before]) // width
    return estimate


def _encode_chunks(table: ChunkTable, flags: int, data: npt.NDArray[np.uint64]) -> bytes:
    rows: npt.NDArray[Any] = np.zeros(len(table), CHUNK_INFO_V2)
    size = np.array(table.uncompressed_size, np.uint64) - np.uint64(1)
    rows["uncompressed"] = (
        np.array(table.uncompressed_offset, np.uint64) >> np.uint64(12)
        | size << np.uint64(32)
        | np.uint64(flags << 56)
    )
    stored_size = np.array(table.compressed_size, np.uint64)
    rows["stored"] = np.array(table.compressed_offset, np.uint64) | stored_size << np.uint64(40)
    rows["data"] = data
    return rows.tobytes()


def _int64s(values: array[int]) -> Int64s:
    return np.array(values, np.int64)
