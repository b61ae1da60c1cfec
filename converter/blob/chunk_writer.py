"""Stores the chunks of a layer: each distinct one once, compressed, in the order of first use."""

from __future__ import annotations

import hashlib
from types import TracebackType
from typing import Final, Self

from converter.blob.chunk_table import ChunkTable
from converter.blob.compress import OrderedPool, batch_worker
from converter.blob.layout import CHUNK_ALIGNMENT, MAX_COMPRESSED_OFFSET
from converter.blob.spool_file import SpoolFile
from converter.blob_pool import BlobPool, ChunkUse
from converter.chunk_digest import digest_function
from converter.errors import LimitExceededError
from converter.image_form import DIGESTER
from converter.options import ConvertOptions
from converter.rafs.layout import round_up

_BATCH_BYTES: Final = 2 << 20
_BATCH_CHUNKS: Final = 1024


class ChunkWriter:
    """Takes chunks of file content in the order of the tar and writes them to a new blob.

    Neither threads nor batches show in what is written.

    Args:
        out: the blob, still empty.
        options: chunk size, compressor, alignment, digest, threads.
        pool: chunks that are not stored but referred to; None for a blob that has all of its chunks.
    """

    def __init__(self, out: SpoolFile, options: ConvertOptions, pool: BlobPool | None = None) -> None:
        self.table = ChunkTable()
        self.uncompressed_size = 0  # of the address space so far
        self.zeros = bytes(options.chunk_size)
        self._out = out
        self._alignment = CHUNK_ALIGNMENT if options.fs_version == 6 else 1  # of what is uncompressed
        self._padded = options.kernel_mountable
        self._digest = digest_function(DIGESTER[options.digester])
        self._workers = OrderedPool(batch_worker(options), options.threads)
        self._blobs = pool
        self._known: dict[bytes, ChunkUse] = {}
        self._zeros_use: ChunkUse | None = None
        self._batch: list[bytes] = []
        self._batch_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    def add(self, chunk: bytes) -> ChunkUse:
        """Stores a chunk, unless this blob or one of the pool has it already.

        Args:
            chunk: 1 to chunk size bytes. For all zeros, `zeros` itself is known without looking at it.

        Returns:
            0 for this blob, or the blob's place in the pool counted from 1; and the chunk's index in it.

        Raises:
            LimitExceededError: the blob is over a limit of the format.
        """
        if chunk is self.zeros and self._zeros_use is not None:
            return self._zeros_use
        digest = self._digest(chunk)
        # Equal digests of what was read here mean equal chunks, so the size needs no comparison of its own.
        use = self._known.get(digest)
        if use is None:
            if self._blobs is not None:
                use = self._blobs.find(digest, len(chunk))
            use = self._known[digest] = use or (0, self._append(digest, chunk))
        if chunk is self.zeros:
            self._zeros_use = use
        return use

    def finish(self) -> None:
        """Writes what is still on its way; the chunk table is complete then."""
        self._hand_in()
        for stored in self._workers.drain():
            self._write(stored)

    def _append(self, digest: bytes, chunk: bytes) -> int:
        table = self.table
        index, size = len(table), len(chunk)
        table.add_content(digest, size, self.uncompressed_size, len(self.zeros))
        self.uncompressed_size += round_up(size, self._alignment)
        self._batch.append(chunk)
        self._batch_bytes += size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_CHUNKS:
            self._hand_in()
        return index

    def _hand_in(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._write(self._workers.submit(batch))

    def _write(self, chunks: list[bytes]) -> None:
        """Appends stored chunks, the next in order, to the blob."""
        table = self.table
        offset = self._out.size
        table.compressed_size.extend(map(len, chunks))
        if self._padded:
            chunks = [chunk + bytes(-len(chunk) % CHUNK_ALIGNMENT) for chunk in chunks]
        for chunk in chunks:
            table.compressed_offset.append(offset)
            table.stored_sha256 += hashlib.sha256(chunk).digest()
            offset += len(chunk)
        if offset > MAX_COMPRESSED_OFFSET:
            raise LimitExceededError(f"the blob grows over {MAX_COMPRESSED_OFFSET} bytes, the limit of RAFS")
        self._out.write(b"".join(chunks))
