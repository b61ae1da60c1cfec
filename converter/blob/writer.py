"""Completes a layer blob: the sections behind its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from converter.blob import layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.layer_blob import LayerBlob
from converter.blob.layout import ChunkInfoHeader
from converter.blob.reader import BlobReader
from converter.blob.sections import SectionWriter
from converter.blob.spool_file import SpoolFile
from converter.errors import BlobError
from converter.image_form import COMPRESSOR, DIGESTER, write_bootstrap
from converter.options import ConvertOptions
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import UNKNOWN_BLOB_ID, BlobFeature, Compressor
from converter.tree import FileTree

_READ_BACK: Final = (
    "digests",
    "uncompressed_size",
    "uncompressed_offset",
    "compressed_size",
    "compressed_offset",
)


class Chunks(Protocol):
    """What is known of the chunks of a blob."""

    @property
    def table(self) -> ChunkTable:
        """The chunks."""

    @property
    def uncompressed_size(self) -> int:
        """Bytes of their uncompressed address space."""


class BlobWriter:
    """Writes everything of a layer blob but its chunks, which are there already.

    Args:
        out: the blob with its chunks and nothing else.
        chunks: those chunks; whoever wrote them is finished.
        options: those of the conversion.

    Attributes:
        features: what the blob says of itself.
    """

    features = layout.FEATURES

    def __init__(self, out: SpoolFile, chunks: Chunks, options: ConvertOptions) -> None:
        self._out = out
        self._chunks = chunks
        self._options = options
        self._sections = SectionWriter(out)

    def finish(self, tree: FileTree, others: Sequence[BlobInfo] = ()) -> LayerBlob:
        """Writes the sections and gives the file its name.

        Args:
            tree: the layer's files; their chunk references mean the chunks of this blob, or of others.
            others: the blobs that the tree numbers from 1.

        Raises:
            LimitExceededError: the tree does not fit into a bootstrap.
        """
        chunk_info = self._write_chunk_sections() if len(self._chunks.table) else None
        boot_offset = self._out.size
        info = self._info(chunk_info, boot_offset)
        self._write_bootstrap(write_bootstrap(tree, [info, *others], self._options))
        path, digest = self._out.commit()
        return LayerBlob(
            path=path,
            digest=digest,
            size=self._out.size,
            chunks=self._chunks.table,
            compressor=info.compressor,
            digester=info.digester,
            features=info.features,
            compressed_size=boot_offset,
            uncompressed_size=info.uncompressed_size,
            ci_compressor=info.ci_compressor,
            ci_offset=info.ci_offset,
            ci_compressed_size=info.ci_compressed_size,
            ci_uncompressed_size=info.ci_uncompressed_size,
            tail=tuple(self._sections.segments),
        )

    def _write_bootstrap(self, bootstrap: memoryview) -> None:
        """Writes what stands behind the sections of the chunks, and checks the blob."""
        self._sections.bootstrap(bootstrap, self._options.level)
        self._sections.contents()
        with self._out.open() as file:
            check_chunks(self._chunks.table, BlobReader(file))

    def _write_chunk_sections(self) -> ChunkInfoHeader | None:
        """Writes what a blob with chunks has between them and the bootstrap."""
        table = self._chunks.table
        self._sections.chunks(self._chunks.uncompressed_size)
        # Beside LZ4 chunks it is zstd, too: readers do not unpack a section that is an LZ4 block (§2.6).
        level = None if self._options.compressor == "none" else self._options.level
        header = self._sections.chunk_info(
            table.encode(), features=layout.FEATURES, entries=len(table), level=level
        )
        self._sections.digests(bytes(table.digests))
        return header

    def _info(self, chunk_info: ChunkInfoHeader | None, boot_offset: int) -> BlobInfo:
        return BlobInfo(
            blob_id=UNKNOWN_BLOB_ID,
            compressor=COMPRESSOR[self._options.compressor],
            features=self.features,
            compressed_size=boot_offset,
            uncompressed_size=self._chunks.uncompressed_size,
            ci_compressor=Compressor(chunk_info.compressor) if chunk_info else Compressor.NONE,
            ci_offset=chunk_info.offset if chunk_info else 0,
            ci_compressed_size=chunk_info.compressed_size if chunk_info else 0,
            ci_uncompressed_size=chunk_info.uncompressed_size if chunk_info else 0,
            chunks=self._chunks.table,
            digester=DIGESTER[self._options.digester],
        )


class Blob5Writer(BlobWriter):
    """As `BlobWriter`, for RAFS v5: chunks and bootstrap, with neither chunk info nor contents (§9)."""

    features = BlobFeature.INLINED_FS_META | BlobFeature.HAS_TAR_HEADER | BlobFeature.CAP_TAR_TOC

    def _write_chunk_sections(self) -> None:
        self._sections.chunks(self._chunks.uncompressed_size)

    def _write_bootstrap(self, bootstrap: memoryview) -> None:
        self._sections.bootstrap(bootstrap, None)


def blob_writer(out: SpoolFile, chunks: Chunks, options: ConvertOptions) -> BlobWriter:
    """The writer for the version of RAFS that the options ask for; arguments as of `BlobWriter`."""
    return (Blob5Writer if options.fs_version == 5 else BlobWriter)(out, chunks, options)


def check_chunks(table: ChunkTable, blob: BlobReader) -> None:
    """Compares what readers find chunks by with what was meant.

    Args:
        table: what was meant.
        blob: what was written.

    Raises:
        BlobError: they differ.
    """
    found, _ = blob.chunk_info()
    for name in _READ_BACK:
        if getattr(found, name) != getattr(table, name):
            raise BlobError(f"{name} of the chunk table came out wrong")
