"""The reader of chunk lists; their layout is in `chunk_list.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from converter.chunk_manifest.chunk_list import (
    HASH_SHA256,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    MAX_RECORD_LENGTH,
    MAX_RECORDS,
    RECORD,
    RECORD_SIZE,
    VERSION,
    ChunkListSummary,
    Segment,
    SegmentKind,
)
from converter.chunk_manifest.errors import InvalidChunkListError
from converter.chunk_manifest.merkle import RootBuilder, leaf_hash
from converter.oci import Descriptor, Digest, media_types

_BATCH_RECORDS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of checked records, in offset order.

    Args:
        lengths: stored lengths in bytes, each 1…16 MiB.
        kinds: `SegmentKind` values.
        sha256s: hashes of the stored bytes, 32 bytes each, one after the other.
    """

    lengths: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    sha256s: bytes

    def __iter__(self) -> Iterator[Segment]:
        hashes = memoryview(self.sha256s)
        for number, (length, kind) in enumerate(zip(self.lengths.tolist(), self.kinds.tolist(), strict=True)):
            yield Segment(length, SegmentKind(kind), bytes(hashes[32 * number : 32 * number + 32]))


class ChunkListReader:
    """Reads and checks a chunk list from a stream, in bounded memory.

    Iterating yields the records in batches; `summary` is there once the iteration has come to its end, and
    only then is the list known to be whole. Nothing that depends on the signature may be done with records
    before `summary.root_hash` was compared with the signed one, unless their own effect is checked otherwise.

    Args:
        stream: the list, read to its end.

    Raises:
        InvalidChunkListError: the header is malformed. Iterating raises it for a malformed record, a stream
            that ends early or goes on after the last record, and lengths that do not add up to the blob's
            size.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._summary: ChunkListSummary | None = None
        header = _read_exactly(stream, HEADER_SIZE)
        magic, version, hash_kind, record_size, flags, count, blob_size, blob = HEADER.unpack(header)
        if magic != MAGIC:
            raise InvalidChunkListError(f"not a chunk list: it begins with {magic!r}")
        if (version, hash_kind, record_size, flags) != (VERSION, HASH_SHA256, RECORD_SIZE, 0):
            raise InvalidChunkListError(
                f"unknown chunk list: version {version}, hash {hash_kind}, record size {record_size},"
                f" flags {flags}"
            )
        if count > MAX_RECORDS:
            raise InvalidChunkListError(f"a chunk list of {count} records is over the limit of {MAX_RECORDS}")
        self._header = header
        self.record_count: int = count
        self.blob_size: int = blob_size
        self.blob = Digest(blob.hex())

    @property
    def summary(self) -> ChunkListSummary:
        """What was read.

        Raises:
            InvalidChunkListError: the list was not yet read to its end.
        """
        if self._summary is None:
            raise InvalidChunkListError("the chunk list was not read to its end")
        return self._summary

    def __iter__(self) -> Iterator[Records]:
        whole, tree = sha256(self._header), RootBuilder()
        covered = chunks = 0
        for start in range(0, self.record_count, _BATCH_RECORDS):
            raw = _read_exactly(self._stream, min(_BATCH_RECORDS, self.record_count - start) * RECORD_SIZE)
            whole.update(raw)
            records = _parse_records(raw, start)
            tree.add(leaf_hash(raw[at : at + RECORD_SIZE]) for at in range(0, len(raw), RECORD_SIZE))
            covered += int(records.lengths.sum())
            chunks += int(np.count_nonzero(records.kinds == SegmentKind.CHUNK))
            yield records
        if self._stream.read(1):
            raise InvalidChunkListError(f"there are bytes after the last of {self.record_count} records")
        if covered != self.blob_size:
            raise InvalidChunkListError(f"records cover {covered} bytes of a blob of {self.blob_size} bytes")
        size = HEADER_SIZE + RECORD_SIZE * self.record_count
        self._summary = ChunkListSummary(
            Descriptor(media_types.CHUNK_LIST, Digest(whole.hexdigest()), size),
            self.blob, self.blob_size, chunks, self.record_count, tree.root(),
        )  # fmt: skip

    def read_all(self) -> ChunkListSummary:
        """Checks the whole list and returns its summary.

        Raises:
            InvalidChunkListError: as iterating does.
        """
        for _ in self:
            pass
        return self.summary


def _parse_records(raw: bytes, first: int) -> Records:
    table = np.frombuffer(raw, dtype=RECORD)
    lengths = table["length"].astype(np.int64)
    bad = (
        (lengths == 0)
        | (lengths > MAX_RECORD_LENGTH)
        | (table["kind"] > max(SegmentKind))
        | table["zero"].any(axis=1)
    )
    if bad.any():
        number = int(bad.argmax())
        raise InvalidChunkListError(
            f"record {first + number} is malformed: {raw[number * RECORD_SIZE :][:RECORD_SIZE].hex()}"
        )
    return Records(lengths, table["kind"].copy(), table["sha256"].tobytes())


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Reads `size` bytes, also from a raw stream that gives fewer at a time."""
    parts = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            raise InvalidChunkListError(f"the chunk list ends {missing} bytes early")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
