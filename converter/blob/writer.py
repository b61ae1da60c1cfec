"""Completes a layer blob: the sections behind its chunks."""

from __future__ import annotations

import hashlib
from typing import Final

from converter.blob import layout
from converter.blob.chunk_writer import ChunkWriter
from converter.blob.compress import compress_one
from converter.blob.layer_blob import LayerBlob
from converter.blob.layout import ChunkInfoHeader, TocEntry, TocFlag, section_header
from converter.blob.reader import BlobReader
from converter.blob.spool_file import SpoolFile
from converter.chunk_manifest.chunk_list import Segment, SegmentKind
from converter.errors import BlobError
from converter.image_form import COMPRESSOR, DIGESTER, write_bootstrap
from converter.options import ConvertOptions
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import UNKNOWN_BLOB_ID, Compressor
from converter.tree import FileTree

_SEGMENT_SIZE: Final = 1 << 20  # a client holds a whole segment until it is checked
_READ_BACK: Final = (
    "digests",
    "uncompressed_size",
    "uncompressed_offset",
    "compressed_size",
    "compressed_offset",
)


class BlobWriter:
    """Writes everything of a layer blob but its chunks, which are there already.

    Args:
        out: the blob with its chunks and nothing else.
        chunks: wrote them, and is finished.
        options: those of the conversion.
    """

    def __init__(self, out: SpoolFile, chunks: ChunkWriter, options: ConvertOptions) -> None:
        self._out = out
        self._chunks = chunks
        self._options = options
        self._compressor = COMPRESSOR[options.compressor]
        self._digester = DIGESTER[options.digester]
        self._toc: list[TocEntry] = []
        self._tail: list[Segment] = []

    def finish(self, tree: FileTree) -> LayerBlob:
        """Writes the sections and gives the file its name.

        Args:
            tree: the layer's files; their chunk references mean the chunks of this blob.

        Raises:
            LimitExceededError: the tree does not fit into a bootstrap.
        """
        chunk_info = self._write_chunk_sections() if len(self._chunks.table) else None
        boot_offset = self._out.size
        info = self._info(chunk_info, boot_offset)
        self._write_bootstrap(tree, info if chunk_info else None)
        self._write_section(layout.SECTION_TOC, b"".join(entry.encode() for entry in self._toc))
        self._check()
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
            tail=tuple(self._tail),
        )

    def _check(self) -> None:
        """Reads back what readers need to find chunks by, and compares it with what was meant."""
        table = self._chunks.table
        with self._out.open() as file:
            found = BlobReader(file).chunk_table()
        for column in _READ_BACK:
            if getattr(found, column) != getattr(table, column):
                raise BlobError(f"{column} of the chunk table came out wrong")

    def _write_chunk_sections(self) -> ChunkInfoHeader:
        """Writes what a blob with chunks has between them and the bootstrap."""
        out, table = self._out, self._chunks.table
        stored_size = out.size
        self._write(section_header(layout.SECTION_CHUNKS, stored_size))
        # Here the format wants the digest of what is stored, header included, and not of the content (§2.6).
        self._toc.append(
            TocEntry(
                TocFlag.STORED,
                layout.SECTION_CHUNKS,
                out.sha256(),
                0,
                stored_size,
                self._chunks.uncompressed_size,
            )
        )
        header = self._write_chunk_info(table.encode())
        self._write_section(layout.SECTION_DIGESTS, bytes(table.digests))
        return header

    def _write_chunk_info(self, plain: bytes) -> ChunkInfoHeader:
        """Writes the chunk info table and its header, which are one section but two lines of the contents."""
        stored, flag, compressor = plain, TocFlag.STORED, Compressor.NONE
        # Beside LZ4 chunks it is zstd, too: readers do not unpack a section that is an LZ4 block (§2.6).
        if self._compressor is not Compressor.NONE:
            packed = compress_one(plain, self._options.level)
            if len(packed) < len(plain):
                stored, flag, compressor = packed, TocFlag.ZSTD, Compressor.ZSTD
        header = ChunkInfoHeader(
            features=layout.FEATURES,
            compressor=compressor,
            entries=len(self._chunks.table),
            offset=self._out.size,
            compressed_size=len(stored),
            uncompressed_size=len(plain),
        )
        self._write_content(layout.SECTION_CHUNK_INFO, stored, plain, flag)
        encoded = header.encode()
        self._write_content(layout.SECTION_CHUNK_INFO_HEADER, encoded, encoded, TocFlag.STORED)
        self._write(section_header(layout.SECTION_CHUNK_INFO, len(stored) + len(encoded)))
        return header

    def _write_bootstrap(self, tree: FileTree, info: BlobInfo | None) -> None:
        plain = write_bootstrap(tree, [info] if info else [], self._options)
        packed = compress_one(plain, self._options.level)
        self._write_content(layout.SECTION_BOOTSTRAP, packed, plain, TocFlag.ZSTD)
        self._write(section_header(layout.SECTION_BOOTSTRAP, len(packed)))

    def _info(self, chunk_info: ChunkInfoHeader | None, boot_offset: int) -> BlobInfo:
        return BlobInfo(
            blob_id=UNKNOWN_BLOB_ID,
            compressor=self._compressor,
            features=layout.FEATURES,
            compressed_size=boot_offset,
            uncompressed_size=self._chunks.uncompressed_size,
            ci_compressor=Compressor(chunk_info.compressor) if chunk_info else Compressor.NONE,
            ci_offset=chunk_info.offset if chunk_info else 0,
            ci_compressed_size=chunk_info.compressed_size if chunk_info else 0,
            ci_uncompressed_size=chunk_info.uncompressed_size if chunk_info else 0,
            chunks=self._chunks.table,
            digester=self._digester,
        )

    def _write_section(self, name: bytes, data: bytes) -> None:
        """Writes a section that is stored as it is, and its tar header."""
        if name != layout.SECTION_TOC:
            self._write_content(name, data, data, TocFlag.STORED)
            self._write(section_header(name, len(data)))
        else:
            self._write(data + section_header(name, len(data)))

    def _write_content(self, name: bytes, stored: bytes, plain: bytes | memoryview, flag: TocFlag) -> None:
        """Writes what the table of contents has a line for."""
        digest = hashlib.sha256(plain).digest()
        self._toc.append(TocEntry(flag, name, digest, self._out.size, len(stored), len(plain)))
        self._write(stored)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        for start in range(0, len(data), _SEGMENT_SIZE):
            piece = memoryview(data)[start : start + _SEGMENT_SIZE]
            self._tail.append(Segment(len(piece), SegmentKind.OTHER, hashlib.sha256(piece).digest()))
