"""The chunk list: one record for each stretch of a data blob. Its layout and its writer.

Layout, big-endian. The header has 64 bytes, each record 40::

    header  0  magic "NYCL"     4  version u16 = 1   6  hash u16 = 1 (SHA-256)   8  record size u32 = 40
           12  flags u32 = 0   16  record count u64 24  blob size u64           32  SHA-256 of the blob [32]
    record  0  stored length u32   4  kind u8   5  zero [3]   8  SHA-256 of the stored bytes [32]

Records are in offset order and cover the blob without gap or overlap, so a record's offset is the sum of the
lengths before it, and every byte that a client can ask for is covered. The leaves of the blob's Merkle tree
are the 40-byte records.

A reader can only hand bytes on once a whole record is checked, so a record is never longer than 16 MiB, the
largest RAFS chunk; longer stretches of other content (the inlined bootstrap of a large layer) are split by
the writer's caller.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from converter.chunk_manifest.errors import InvalidChunkListError
from converter.oci import Descriptor, Digest

MAX_RECORD_LENGTH: Final = 16 * 1024 * 1024
MAX_RECORDS: Final = 1 << 24  # 640 MiB of list; one record for each MiB of a 16 TiB blob

HEADER: Final = struct.Struct(">4sHHIIQQ32s")
RECORD: Final = np.dtype([("length", ">u4"), ("kind", "u1"), ("zero", "u1", (3,)), ("sha256", "V32")])
_RECORD_STRUCT: Final = struct.Struct(">IB3x32s")
HEADER_SIZE: Final = 64
RECORD_SIZE: Final = 40
MAGIC: Final = b"NYCL"
VERSION: Final = 1
HASH_SHA256: Final = 1

if HEADER.size != HEADER_SIZE or not RECORD.itemsize == _RECORD_STRUCT.size == RECORD_SIZE:
    raise AssertionError("the struct definitions do not have the sizes of the format")


class SegmentKind(IntEnum):
    """What a record's bytes are."""

    CHUNK = 0
    """One stored chunk."""
    OTHER = 1
    """Anything between chunks: chunk table, digests, bootstrap, table of contents, tar headers, padding."""


class Segment(NamedTuple):
    """One stretch of a blob: length in bytes, kind, and SHA-256 of the stored bytes (32 bytes)."""

    length: int
    kind: SegmentKind
    sha256: bytes


@dataclass(frozen=True, slots=True)
class ChunkListSummary:
    """What is signed about a chunk list.

    Args:
        descriptor: media type, digest and size of the list itself.
        blob: digest of the blob it describes.
        blob_size: length of the blob in bytes.
        chunk_count: number of records that are chunks.
        record_count: number of all records, which is the number of leaves of the tree.
        root_hash: RFC 6962 root over the records, 32 bytes.
    """

    descriptor: Descriptor
    blob: Digest
    blob_size: int
    chunk_count: int
    record_count: int
    root_hash: bytes


class ChunkListWriter:
    """Collects the segments of one blob, in offset order, and writes the list.

    Holds 40 bytes a record.
    """

    def __init__(self) -> None:
        self._records = bytearray()
        self._blob_size = 0

    def add(self, segment: Segment) -> None:
        """Appends one segment.

        Raises:
            InvalidChunkListError: a length outside 1…16 MiB, or a hash that is not 32 bytes.
        """
        length, kind, sha256 = segment
        if not 0 < length <= MAX_RECORD_LENGTH or len(sha256) != 32:
            raise InvalidChunkListError(
                f"a segment of {length} bytes with a hash of {len(sha256)} bytes:"
                f" 1…{MAX_RECORD_LENGTH} and 32 are possible"
            )
        self._records += _RECORD_STRUCT.pack(length, kind, sha256)
        self._blob_size += length

    def add_many(
        self, lengths: npt.ArrayLike, kind: SegmentKind, sha256s: bytes | bytearray | memoryview
    ) -> None:
        """Appends neighbouring segments of one kind in one go, for the columns of a chunk table.

        Args:
            lengths: stored length of each, in bytes.
            kind: of all of them.
            sha256s: their hashes, 32 bytes each, one after the other.

        Raises:
            InvalidChunkListError: a length outside 1…16 MiB, or not one hash for each length.
        """
        column = np.asarray(lengths, dtype=np.int64)
        if len(sha256s) != 32 * len(column):
            raise InvalidChunkListError(f"{len(sha256s)} bytes of hashes for {len(column)} segments")
        if len(column) and not 0 < column.min() <= column.max() <= MAX_RECORD_LENGTH:
            raise InvalidChunkListError(
                f"segment lengths {column.min()}…{column.max()} are not within 1…{MAX_RECORD_LENGTH} bytes"
            )
        records = np.zeros(len(column), dtype=RECORD)
        records["length"] = column
        records["kind"] = kind
        records["sha256"] = np.frombuffer(sha256s, dtype="V32")
        self._records += records.tobytes()
        self._blob_size += int(column.sum())

    def finish(self, blob: Digest) -> bytes:
        """The list as bytes.

        Args:
            blob: digest of the whole blob, whose size is the sum of the lengths added.

        Raises:
            InvalidChunkListError: more than 2**24 records.
        """
        count = len(self._records) // RECORD_SIZE
        if count > MAX_RECORDS:
            raise InvalidChunkListError(f"a chunk list of {count} records is over the limit of {MAX_RECORDS}")
        header = HEADER.pack(
            MAGIC, VERSION, HASH_SHA256, RECORD_SIZE, 0, count, self._blob_size, bytes.fromhex(blob.hex)
        )
        return header + self._records
