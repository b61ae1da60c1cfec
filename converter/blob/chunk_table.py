"""What is known of every chunk of a layer blob, in columns, and its form on disk.

Chunk info version 1, 16 bytes a chunk (§2.5), as two 64-bit words::

    63 ........ 44 | 43 .......... 12 | 11 ........ 8 | 7 .. 0
    size-1, low 20 | offset / 4096    | size-1, top 4 | zero        uncompressed
    63 ........ 44 | 43 ........ 40 | 39 ................... 0
    size-1, low 20 | size-1, top 4  | offset                        as stored

Whether a chunk is compressed shows only in the two sizes being different.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
import numpy.typing as npt

from converter.blob.layout import (
    CHUNK_ALIGNMENT,
    DIGEST_SIZE,
    MAX_COMPRESSED_OFFSET,
    MAX_UNCOMPRESSED_SIZE,
)
from converter.errors import BlobError, LimitExceededError
from converter.rafs.layout import MAX_CHUNK_INDEX

CHUNK_INFO: Final = np.dtype([("uncompressed", "<u8"), ("stored", "<u8")])
CHUNK_INFO_SIZE: Final = 16
MAX_CHUNK_SIZE: Final = 1 << 24

if CHUNK_INFO.itemsize != CHUNK_INFO_SIZE:
    raise AssertionError(f"a chunk info record is declared with {CHUNK_INFO.itemsize} bytes")


class ChunkTable:
    """The chunks of one layer blob in the order of their indexes, which is the order of their offsets.

    Columns, one item for each chunk:

    - `digests`: of the uncompressed chunk, 32 bytes each; which digest is up to the conversion.
    - `uncompressed_size`, `uncompressed_offset`: bytes; offsets are multiples of 4096 without gaps but for
      that.
    - `compressed_size`, `compressed_offset`: as stored in the blob; sizes are equal for a chunk stored as it
      is.
    - `stored_sha256`: SHA-256 of the stored chunk together with the padding behind it, 32 bytes each. Only a
      kernel-mountable blob has padding.
    """

    def __init__(self) -> None:
        self.digests = bytearray()
        self.uncompressed_size = array("I")
        self.uncompressed_offset = array("Q")
        self.compressed_size = array("I")
        self.compressed_offset = array("Q")
        self.stored_sha256 = bytearray()

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self.uncompressed_size)

    def add_content(self, digest: bytes, size: int, offset: int, chunk_size: int) -> None:
        """Adds a chunk; where it is stored, the owner of the table adds.

        Args:
            digest: of its content.
            size: of its content, in bytes.
            offset: in the uncompressed address space.
            chunk_size: the largest that a chunk of the blob can be, in bytes.

        Raises:
            LimitExceededError: a blob of RAFS holds no more.
        """
        if len(self) > MAX_CHUNK_INDEX or offset > MAX_UNCOMPRESSED_SIZE - chunk_size:
            raise LimitExceededError(
                f"the layer has more than {len(self)} distinct chunks or {offset} bytes;"
                " a RAFS blob holds no more"
            )
        self.digests += digest
        self.uncompressed_size.append(size)
        self.uncompressed_offset.append(offset)

    def digest(self, index: int) -> bytes:
        """Digest of one uncompressed chunk."""
        return bytes(self.digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE])

    def encode(self) -> bytes:
        """The chunk info table, 16 bytes a chunk."""
        rows = np.zeros(len(self), CHUNK_INFO)
        rows["uncompressed"] = (
            _split_size(self.uncompressed_size, top_at=8)
            | _column(self.uncompressed_offset)
        )  # fmt: skip
        rows["stored"] = _split_size(self.compressed_size, top_at=40) | _column(self.compressed_offset)
        return rows.tobytes()

    @classmethod
    def decode(cls, data: bytes, digests: bytes | None) -> ChunkTable:
        """Reads a chunk info table and the digests that belong to it; `stored_sha256` stays empty.

        Args:
            data: 16 bytes a chunk.
            digests: 32 bytes a chunk; None if the blob does not have them, `digests` then stays empty.

        Raises:
            BlobError: different numbers of chunks, or offsets and sizes that break the rules of the format.
        """
        count = len(data) // CHUNK_INFO_SIZE
        if len(data) % CHUNK_INFO_SIZE:
            raise BlobError(f"{len(data)} bytes of chunk info are not whole records")
        if digests is not None and len(digests) != count * DIGEST_SIZE:
            raise BlobError(f"{len(data)} bytes of chunk info do not go with {len(digests)} bytes of digests")
        rows = np.frombuffer(data, CHUNK_INFO)
        table = cls()
        table.digests += digests or b""
        offset_mask = np.uint64((1 << 44) - CHUNK_ALIGNMENT)
        for sizes, word, top_at in (
            (table.uncompressed_size, rows["uncompressed"], 8),
            (table.compressed_size, rows["stored"], 40),
        ):
            sizes.frombytes(_join_size(word, top_at).astype(np.uint32).tobytes())
        table.uncompressed_offset.frombytes((rows["uncompressed"] & offset_mask).tobytes())
        table.compressed_offset.frombytes((rows["stored"] & np.uint64(MAX_COMPRESSED_OFFSET)).tobytes())
        if np.any(rows["uncompressed"] & np.uint64(0xFF)):
            raise BlobError("a chunk info record has unknown bits")
        table.check_order(in_gzip=False)
        return table

    def check_order(self, *, in_gzip: bool) -> None:
        """Checks what a reader demands of sizes and offsets (§5.6).

        Args:
            in_gzip: whether the chunks lie in a gzip file, where they can share bytes and be larger than
                their content.

        Raises:
            BlobError: they break the rules.
        """
        usize, uoff = _column(self.uncompressed_size), _column(self.uncompressed_offset)
        csize, coff = _column(self.compressed_size), _column(self.compressed_offset)
        aligned = (usize + np.uint64(CHUNK_ALIGNMENT - 1)) & ~np.uint64(CHUNK_ALIGNMENT - 1)
        starts = np.concatenate((np.zeros(1, np.uint64), np.cumsum(aligned)))[:-1]
        if np.any(uoff != starts):
            raise BlobError("the chunks leave gaps in the uncompressed address space")
        ends = coff if in_gzip else coff + csize
        if np.any(coff[1:] < ends[:-1]):
            raise BlobError("the stored chunks overlap or are not in order")
        if not in_gzip and np.any(csize > usize):
            raise BlobError("a stored chunk is larger than its content")


def _column(values: array[int]) -> npt.NDArray[np.uint64]:
    return np.array(values, np.uint64)


def _split_size(sizes: array[int], top_at: int) -> npt.NDArray[np.uint64]:
    """Puts size-1 into a word: its low 20 bits at bit 44, its top 4 at bit `top_at`."""
    less = _column(sizes) - np.uint64(1)
    low, top = less & np.uint64(0xFFFFF), less >> np.uint64(20)
    return (low << np.uint64(44)) | (top << np.uint64(top_at))


def _join_size(word: npt.NDArray[np.uint64], top_at: int) -> npt.NDArray[np.uint64]:
    top = (word >> np.uint64(top_at)) & np.uint64(0xF)
    return ((top << np.uint64(20)) | (word >> np.uint64(44))) + np.uint64(1)
