"""Writes the sections of a layer blob that stand behind its chunks, and lists them (§2.1, §2.6)."""

from __future__ import annotations

import hashlib
from typing import Final

from converter.blob import layout
from converter.blob.compress import compress_one
from converter.blob.layout import ChunkInfoHeader, TocEntry, TocFlag, section_header
from converter.blob.spool_file import SpoolFile
from converter.chunk_manifest.chunk_list import Segment, SegmentKind
from converter.rafs.layout import BlobFeature, Compressor

_SEGMENT_SIZE: Final = 1 << 20  # a client holds a whole segment until it is checked


class SectionWriter:
    """Writes sections one after the other, in the order of its methods.

    Args:
        out: the blob with its chunks, if it has any of its own, and nothing else.

    Attributes:
        segments: of the chunk list, for everything written here.
    """

    def __init__(self, out: SpoolFile) -> None:
        self.segments: list[Segment] = []
        self._out = out
        self._toc: list[TocEntry] = []

    def chunks(self, uncompressed_size: int) -> None:
        """Ends the section of the chunks, which are there already.

        Args:
            uncompressed_size: of the uncompressed address space.
        """
        size = self._out.size
        self._write(section_header(layout.SECTION_CHUNKS, size))
        # Here the format wants the digest of what is stored, header included, and not of the content (§2.6).
        digest = self._out.sha256()
        self._toc.append(TocEntry(TocFlag.STORED, layout.SECTION_CHUNKS, digest, 0, size, uncompressed_size))

    def chunk_info(
        self,
        plain: bytes,
        *,
        features: BlobFeature,
        entries: int,
        level: int | None,
        contexts: tuple[int, int, int] = (0, 0, 0),
    ) -> ChunkInfoHeader:
        """Writes the chunk info table and its header, which are one section but two lines of the contents.

        Args:
            plain: the table.
            features: of the blob.
            entries: chunks in the table.
            level: of zstd; None stores the table as it is. So is one that does not shrink.
            contexts: offset in the table, bytes and number of inflate contexts (§8.3).
        """
        stored, flag, compressor = plain, TocFlag.STORED, Compressor.NONE
        if level is not None:
            packed = compress_one(plain, level)
            if len(packed) < len(plain):
                stored, flag, compressor = packed, TocFlag.ZSTD, Compressor.ZSTD
        header = ChunkInfoHeader(
            features, compressor, entries, self._out.size, len(stored), len(plain), *contexts
        )
        self._write_content(layout.SECTION_CHUNK_INFO, stored, plain, flag)
        encoded = header.encode()
        self._write_content(layout.SECTION_CHUNK_INFO_HEADER, encoded, encoded, TocFlag.STORED)
        self._write(section_header(layout.SECTION_CHUNK_INFO, len(stored) + len(encoded)))
        return header

    def digests(self, digests: bytes) -> None:
        """Writes the digests of the chunks, 32 bytes each."""
        self._write_content(layout.SECTION_DIGESTS, digests, digests, TocFlag.STORED)
        self._write(section_header(layout.SECTION_DIGESTS, len(digests)))

    def bootstrap(self, plain: memoryview, level: int | None) -> None:
        """Writes the layer's own bootstrap.

        Args:
            plain: the bootstrap.
            level: of zstd; None stores it as it is.
        """
        stored = bytes(plain) if level is None else compress_one(plain, level)
        flag = TocFlag.STORED if level is None else TocFlag.ZSTD
        self._write_content(layout.SECTION_BOOTSTRAP, stored, plain, flag)
        self._write(section_header(layout.SECTION_BOOTSTRAP, len(stored)))

    def contents(self) -> None:
        """Writes the table of contents; nothing comes behind it."""
        data = b"".join(entry.encode() for entry in self._toc)
        self._write(data + section_header(layout.SECTION_TOC, len(data)))

    def _write_content(self, name: bytes, stored: bytes, plain: bytes | memoryview, flag: TocFlag) -> None:
        """Writes what the table of contents has a line for."""
        digest = hashlib.sha256(plain).digest()
        self._toc.append(TocEntry(flag, name, digest, self._out.size, len(stored), len(plain)))
        self._write(stored)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        for start in range(0, len(data), _SEGMENT_SIZE):
            piece = memoryview(data)[start : start + _SEGMENT_SIZE]
            self.segments.append(Segment(len(piece), SegmentKind.OTHER, hashlib.sha256(piece).digest()))
