"""What is known of a finished layer blob."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converter.blob.chunk_table import ChunkTable
from converter.blob.layout import CHUNK_INFO_HEADER_SIZE, ChunkInfoHeader
from converter.chunk_manifest.chunk_list import Segment, SegmentKind
from converter.oci import Digest
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import BlobFeature, Compressor, Digester
from converter.zran.reference import LayerReference


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer blob in the spool directory. Sizes and offsets are in bytes of the blob file.

    Args:
        path: the file; its name is the hexadecimal part of `digest`.
        digest: SHA-256 of the whole file, which is the blob's name everywhere (§2.7).
        size: of the whole file.
        chunks: the chunk table; empty for a layer without file content.
        compressor: of the chunks.
        digester: of the chunks.
        features: as the blob itself states them.
        compressed_size: offset of the bootstrap section; what blob tables call the compressed size (§3.6).
        uncompressed_size: of the uncompressed address space, a multiple of 4096.
        ci_compressor: of the chunk info table.
        ci_offset: of the chunk info table; 0 without chunks, as the next two.
        ci_compressed_size: of the table as stored.
        ci_uncompressed_size: 16 for each chunk.
        tail: segments of the chunk list behind the chunks, up to the end of the file.
        reference: the layer of the source that has the chunks; None if this blob has them itself.
    """

    path: Path
    digest: Digest
    size: int
    chunks: ChunkTable
    compressor: Compressor
    digester: Digester
    features: BlobFeature
    compressed_size: int
    uncompressed_size: int
    ci_compressor: Compressor
    ci_offset: int
    ci_compressed_size: int
    ci_uncompressed_size: int
    tail: tuple[Segment, ...]
    reference: LayerReference | None = None

    def chunk_segment_lengths(self) -> npt.NDArray[np.uint64]:
        """Length of each chunk's segment of the chunk list: the stored chunk and the padding behind it.

        Their hashes are `chunks.stored_sha256`; `tail` follows them.
        """
        if self.reference is not None:
            return np.zeros(0, np.uint64)
        starts = np.array(self.chunks.compressed_offset, np.uint64)
        end = self.size - sum(segment.length for segment in self.tail)
        return np.diff(starts, append=np.uint64(end))

    def segments(self) -> Iterator[Segment]:
        """The whole file in segments of the chunk list, without gap or overlap."""
        hashes = self.chunks.stored_sha256
        for index, length in enumerate(self.chunk_segment_lengths().tolist()):
            yield Segment(length, SegmentKind.CHUNK, bytes(hashes[32 * index : 32 * index + 32]))
        yield from self.tail

    def info(self) -> BlobInfo:
        """What the bootstrap of an image says about the blob: it has no inlined metadata there (§4.4)."""
        reference = self.reference
        return BlobInfo(
            blob_id=(reference or self).digest.hex,
            compressor=self.compressor,
            features=self.features & ~BlobFeature.INLINED_FS_META,
            compressed_size=self.compressed_size,
            uncompressed_size=self.uncompressed_size,
            ci_compressor=self.ci_compressor,
            ci_offset=self.ci_offset,
            ci_compressed_size=self.ci_compressed_size,
            ci_uncompressed_size=self.ci_uncompressed_size,
            chunks=self.chunks,
            digester=self.digester,
            meta_digest=bytes.fromhex(self.digest.hex) if reference else bytes(32),
            meta_size=self.size if reference else 0,
        )

    def chunk_info_header(self) -> ChunkInfoHeader:
        """The header of the chunk info table."""
        return ChunkInfoHeader(
            features=self.features,
            compressor=self.ci_compressor,
            entries=len(self.chunks),
            offset=self.ci_offset,
            compressed_size=self.ci_compressed_size,
            uncompressed_size=self.ci_uncompressed_size,
        )

    @property
    def has_cache_file(self) -> bool:
        """Whether a bootstrap layer should bring `blob_meta_file` along.

        Not for an index: a client gets it with one request as well, and it would be in the image twice.
        RAFS v5 has no such table.
        """
        return self.ci_compressed_size > 0 and self.reference is None

    def blob_meta_file(self) -> bytes:
        """The file `<blob id>.blob.meta` of nydusd's cache, which a bootstrap layer can bring along (§1.5).

        The uncompressed chunk info table, zeros up to a multiple of 4096, the table's header (§2.5).
        """
        table = self.chunks.encode()
        return table + bytes(-len(table) % CHUNK_INFO_HEADER_SIZE) + self.chunk_info_header().encode()
