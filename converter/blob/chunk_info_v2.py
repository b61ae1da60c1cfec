"""Chunk info of version 2, which blobs use whose chunks lie in a gzip file (§2.5, §8.2, §8.3).

24 bytes a chunk, as three 64-bit words::

    63 .. 56 | 55 ....... 32 | 31 .................. 0
    flags    | size-1        | offset / 4096               uncompressed
    63 ............ 40 | 39 ........................ 0
    size               | offset                            as stored
    63 ............ 32 | 31 ........................ 0
    inflate context    | offset in what that inflates to   or the CRC-32C of the chunk

Behind the chunks come the inflate contexts, 40 bytes each, and behind those their dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.blob.chunk_table import ChunkTable
from converter.blob.layout import CHUNK_ALIGNMENT, DIGEST_SIZE, MAX_COMPRESSED_OFFSET, ChunkInfoHeader
from converter.errors import BlobError
from converter.rafs.layout import CHUNK_INFO_V2_SIZE

CHUNK_INFO_V2: Final = np.dtype([("uncompressed", "<u8"), ("stored", "<u8"), ("data", "<u8")])
INFLATE_CONTEXT: Final = np.dtype(
    [
        ("in_offset", "<u8"),  # in the gzip file, where deflate data begin
        ("out_offset", "<u8"),  # in all that the file inflates to
        #
        ("dict_offset", "<u8"),  # in the dictionaries
        ("in_size", "<u4"),  # bytes of the gzip file to read
        ("out_size", "<u4"),  # bytes that they inflate to
        #
        ("dict_size", "<u4"),  # 0 at the start of a stream, else at most 32768
        ("byte", "u1"),  # the byte in front of `in_offset`
        ("bits", "u1"),  # how many upper bits of it belong to these data, 0 to 7
        ("reserved", "<u2"),
    ]
)
MAX_DICTIONARY_SIZE: Final = 32768

FLAG_COMPRESSED: Final = 1
FLAG_ZRAN: Final = 2
FLAG_BATCH: Final = 4
FLAG_ENCRYPTED: Final = 8
FLAG_HAS_CRC: Final = 16

for _dtype, _size in ((CHUNK_INFO_V2, CHUNK_INFO_V2_SIZE), (INFLATE_CONTEXT, 40)):
    if _dtype.itemsize != _size:
        raise AssertionError(f"a record of {_size} bytes is declared with {_dtype.itemsize}")


@dataclass(frozen=True, slots=True)
class GzipWindows:
    """How to get at chunks in the middle of a gzip file.

    Args:
        contexts: rows of `INFLATE_CONTEXT`.
        dictionaries: all of them, joined.
        context: for each chunk, the row of its context.
        offset: for each chunk, where it begins in what the context inflates to, in bytes.
    """

    contexts: npt.NDArray[Any]
    dictionaries: bytes
    context: npt.NDArray[np.uint32]
    offset: npt.NDArray[np.uint32]

    def dictionary(self, context: int) -> bytes:
        """The dictionary of one context."""
        start, size = int(self.contexts["dict_offset"][context]), int(self.contexts["dict_size"][context])
        return self.dictionaries[start : start + size]


def decode_chunk_info_v2(
    data: bytes, header: ChunkInfoHeader, digests: bytes | None, *, in_gzip: bool
) -> tuple[ChunkTable, GzipWindows | None]:
    """Reads a chunk info table of version 2.

    Args:
        data: the uncompressed table with contexts and dictionaries.
        header: of the table.
        digests: 32 bytes a chunk, if the blob has them.
        in_gzip: whether the chunks lie in a gzip file.

    Returns:
        The chunks, and how to get at them if they lie in a gzip file.

    Raises:
        BlobError: offsets, sizes or counts that break the rules of the format.
    """
    end = header.entries * CHUNK_INFO_V2_SIZE
    if end > len(data) or (not in_gzip and end != len(data)):
        raise BlobError(f"{len(data)} bytes of chunk info do not go with {header.entries} chunks")
    if digests is not None and len(digests) != header.entries * DIGEST_SIZE:
        raise BlobError(f"{len(digests)} bytes of digests do not go with {header.entries} chunks")
    rows = np.frombuffer(data[:end], CHUNK_INFO_V2)
    _check_flags(rows, in_gzip=in_gzip)
    table = ChunkTable()
    table.digests += digests or b""
    uncompressed, stored = rows["uncompressed"], rows["stored"]
    table.uncompressed_offset.frombytes(((uncompressed & np.uint64(0xFFFFFFFF)) << np.uint64(12)).tobytes())
    usize = (uncompressed >> np.uint64(32) & np.uint64(0xFFFFFF)) + np.uint64(1)
    table.uncompressed_size.frombytes(usize.astype(np.uint32).tobytes())
    table.compressed_offset.frombytes((stored & np.uint64(MAX_COMPRESSED_OFFSET)).tobytes())
    table.compressed_size.frombytes((stored >> np.uint64(40)).astype(np.uint32).tobytes())
    table.check_order(in_gzip=in_gzip)
    compressed = uncompressed >> np.uint64(56) & np.uint64(FLAG_COMPRESSED) != 0
    if not in_gzip and np.any(compressed != (stored >> np.uint64(40) < usize)):
        raise BlobError("a chunk has another size than its being compressed or not asks for")
    if not in_gzip:
        return table, None
    return table, _read_windows(data, header, rows, usize)


def _check_flags(rows: npt.NDArray[Any], *, in_gzip: bool) -> None:
    flags = rows["uncompressed"] >> np.uint64(56)
    if np.any(flags & np.uint64(FLAG_BATCH)):
        raise BlobError("the blob has batch chunks, which are not supported")
    if np.any(flags & np.uint64(FLAG_ENCRYPTED)):
        raise BlobError("the blob has encrypted chunks, which are not supported")
    known = FLAG_COMPRESSED | FLAG_ZRAN | FLAG_HAS_CRC
    if np.any(flags & ~np.uint64(known)) or np.any((flags & np.uint64(FLAG_ZRAN) != 0) != in_gzip):
        raise BlobError("the chunk info has flags that are unknown or do not go with its header")


def _read_windows(
    data: bytes, header: ChunkInfoHeader, rows: npt.NDArray[Any], usize: npt.NDArray[np.uint64]
) -> GzipWindows:
    """Reads contexts and dictionaries, and checks that each chunk lies in what its context inflates to."""
    start = header.entries * CHUNK_INFO_V2_SIZE
    dictionaries_at = start + header.zran_count * INFLATE_CONTEXT.itemsize
    if header.zran_offset != start or start + header.zran_size != len(data) or dictionaries_at > len(data):
        raise BlobError("the inflate contexts do not fill what the chunks leave of the chunk info")
    contexts = np.frombuffer(data[start:dictionaries_at], INFLATE_CONTEXT)
    room = len(data) - dictionaries_at
    wrong = (
        (contexts["bits"] > 7)
        | (contexts["dict_size"] > MAX_DICTIONARY_SIZE)
        | (contexts["dict_offset"] > room)
        | (contexts["dict_offset"] + contexts["dict_size"] > room)
        | (contexts["in_offset"] > MAX_COMPRESSED_OFFSET)
        | (contexts["reserved"] != 0)
    )
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BlobError(f"inflate context {row} has numbers that cannot be: {contexts[row]}")
    context = (rows["data"] >> np.uint64(32)).astype(np.uint32)
    offset = (rows["data"] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    if len(context) and context.max() >= len(contexts):
        raise BlobError(f"a chunk has the inflate context {context.max()} of {len(contexts)}")
    if np.any(offset + usize > contexts["out_size"][context]):
        raise BlobError("a chunk goes on behind what its inflate context gives")
    return GzipWindows(contexts, data[dictionaries_at:], context, offset)


if CHUNK_ALIGNMENT != 1 << 12:
    raise AssertionError("offsets in chunk info are in units of 4096 bytes")
