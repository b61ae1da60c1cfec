"""Reads blobs back, trusting nothing: for checks of what was written, and of what others hand us."""

from __future__ import annotations

import hashlib
from enum import Enum
from functools import cached_property
from typing import BinaryIO, Final

from converter.blob import layout
from converter.blob.chunk_info_v2 import GzipWindows, decode_chunk_info_v2
from converter.blob.chunk_table import ChunkTable
from converter.blob.codec import decompress
from converter.blob.framing import BlobFile, Section, find_sections
from converter.blob.layout import (
    CHUNK_INFO_HEADER_SIZE,
    DIGEST_SIZE,
    TOC_ENTRY_SIZE,
    ChunkInfoHeader,
    TocEntry,
    TocFlag,
)
from converter.chunk_digest import digest_function
from converter.errors import BlobError
from converter.options import MAX_CHUNK_SIZE
from converter.rafs.features import unsupported_features
from converter.rafs.layout import (
    CHUNK_INFO_V1_SIZE,
    CHUNK_INFO_V2_SIZE,
    MAX_CHUNK_INDEX,
    MAX_CHUNK_INFO_SIZE,
    BlobFeature,
    Compressor,
    Digester,
    round_up,
)

MAX_BOOTSTRAP_SIZE: Final = 1 << 30  # uncompressed; a million files need a tenth of it
_TOC_COMPRESSOR: Final = {TocFlag.ZSTD: Compressor.ZSTD, TocFlag.LZ4_BLOCK: Compressor.LZ4_BLOCK}


class BlobKind(Enum):
    """How a blob is framed (see `converter.blob.framing`)."""

    CONTENTS = "sections with a table of contents"
    HEADERS = "sections with tar headers only"
    PLAIN = "chunks, chunk info and its header"


class BlobReader:
    """A blob as `converter.blob.writer`, the reference converter or nydus-image write it.

    A plain blob of RAFS v5 is none of them: nothing but the bootstrap says what is in it. An index blob,
    whose chunks lie in a gzip file elsewhere, has no chunks to read but tells where they are.

    Args:
        file: the blob, seekable.
        compressor: of the chunks; a blob does not say it, only a bootstrap does.
        digester: of the chunks, likewise.

    Raises:
        BlobError: here and from all methods: the blob breaks the format, or content does not match its
        digest.

    Attributes:
        kind: how it is framed.
        sections: what it consists of, in order.
        contents: the lines of the table of contents by name; empty if there is none.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        compressor: Compressor = Compressor.ZSTD,
        digester: Digester = Digester.BLAKE3,
    ) -> None:
        self._file = BlobFile(file)
        self._compressor = compressor
        self._digest = digest_function(digester)
        sections, has_headers = find_sections(self._file)
        self.sections: tuple[Section, ...] = tuple(sections)
        self._section = {section.name: section for section in sections}
        self.contents = self._read_contents()
        self.kind = BlobKind.PLAIN
        if has_headers:
            self.kind = BlobKind.CONTENTS if self.contents else BlobKind.HEADERS

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self._file.size

    @cached_property
    def header(self) -> ChunkInfoHeader | None:
        """The header of the chunk info table; None if the blob has no chunks."""
        section = self._section.get(layout.SECTION_CHUNK_INFO)
        if section is None:
            return None
        if section.size < CHUNK_INFO_HEADER_SIZE:
            raise BlobError(f"a chunk info section of {section.size} bytes has no room for its header")
        offset = section.end - CHUNK_INFO_HEADER_SIZE
        header = ChunkInfoHeader.decode(self._file.read(offset, CHUNK_INFO_HEADER_SIZE))
        if (header.offset, header.compressed_size) != (section.offset, offset - section.offset):
            raise BlobError("the header of the chunk info table contradicts the place of the table")
        self._check_header(header)
        return header

    def chunk_table(self) -> ChunkTable:
        """The chunk table, empty if the blob has none.

        `stored_sha256` is not in a blob and stays empty; `digests` too, unless there is a section of them.
        """
        return self.chunk_info()[0]

    def chunk_info(self) -> tuple[ChunkTable, GzipWindows | None]:
        """The chunk table, and how to get at the chunks if they lie in a gzip file."""
        header = self.header
        if header is None:
            return ChunkTable(), None
        data = self._chunk_info_bytes(header)
        digests = self._digests(header.entries)
        windows = None
        if header.features & BlobFeature.CHUNK_INFO_V2:
            in_gzip = bool(header.features & BlobFeature.ZRAN)
            table, windows = decode_chunk_info_v2(data, header, digests, in_gzip=in_gzip)
        else:
            table = ChunkTable.decode(data, digests)
        if header.entries != len(table):
            raise BlobError(f"the chunk info table has {len(table)} chunks, its header {header.entries}")
        self._check_ends(table, header)
        return table, windows

    def chunk_info_table(self) -> bytes:
        """The whole uncompressed chunk info table; empty without chunks."""
        return self._chunk_info_bytes(self.header) if self.header is not None else b""

    def chunk(self, table: ChunkTable, index: int) -> bytes:
        """The content of one chunk of the blob itself, compared with its digest if the table has digests."""
        if self.header is None or self.header.features & BlobFeature.SEPARATE:
            raise BlobError("the chunks are not in this blob")
        size, stored_size = table.uncompressed_size[index], table.compressed_size[index]
        if size > MAX_CHUNK_SIZE:
            raise BlobError(f"chunk {index} has {size} bytes")
        data = self._file.read(table.compressed_offset[index], stored_size)
        if stored_size < size:
            data = decompress(data, size, self._compressor, f"chunk {index}")
        if table.digests and self._digest(data) != table.digest(index):
            raise BlobError(f"chunk {index} does not match its digest")
        return data

    def bootstrap(self) -> bytes:
        """The bootstrap inside the blob, compared with its digest if there is a table of contents."""
        section = self._section.get(layout.SECTION_BOOTSTRAP)
        if section is None:
            raise BlobError("the blob has no bootstrap inside")
        if self.contents:
            return self._content(layout.SECTION_BOOTSTRAP, MAX_BOOTSTRAP_SIZE)
        if section.size > MAX_BOOTSTRAP_SIZE:
            raise BlobError(f"the bootstrap in the blob has {section.size} bytes, which is too long")
        return self._file.read(section.offset, section.size)

    def read(self, offset: int, size: int) -> bytes:
        """Any bytes of the blob."""
        return self._file.read(offset, size)

    def _check_header(self, header: ChunkInfoHeader) -> None:
        """Checks what must hold before the table is read, so that its size is bounded."""
        problem = unsupported_features(header.features)
        if problem:
            raise BlobError(f"the blob {problem}")
        row = CHUNK_INFO_V2_SIZE if header.features & BlobFeature.CHUNK_INFO_V2 else CHUNK_INFO_V1_SIZE
        if header.entries > MAX_CHUNK_INDEX + 1 or header.uncompressed_size > MAX_CHUNK_INFO_SIZE:
            raise BlobError(f"a chunk info table of {header.uncompressed_size} bytes is over the limit")
        if header.entries * row > header.uncompressed_size:
            raise BlobError(
                f"{header.uncompressed_size} bytes of chunk info do not go with {header.entries} chunks"
            )
        if header.compressor not in set(Compressor):
            raise BlobError(f"the chunk info table is compressed by method {header.compressor}")

    def _chunk_info_bytes(self, header: ChunkInfoHeader) -> bytes:
        data = self._file.read(header.offset, header.compressed_size)
        if header.compressor != Compressor.NONE:
            data = decompress(
                data, header.uncompressed_size, Compressor(header.compressor), "the chunk info table"
            )
        if len(data) != header.uncompressed_size:
            raise BlobError(
                f"the chunk info table has {len(data)} bytes, its header says {header.uncompressed_size}"
            )
        if self.contents:
            self._content(layout.SECTION_CHUNK_INFO_HEADER, CHUNK_INFO_HEADER_SIZE)
            entry = self.contents[layout.SECTION_CHUNK_INFO]
            compressor = _TOC_COMPRESSOR.get(entry.flags, Compressor.NONE)
            if (compressor, entry.uncompressed_size) != (header.compressor, len(data)):
                raise BlobError("the header of the chunk info table contradicts the table of contents")
            if hashlib.sha256(data).digest() != entry.sha256:
                raise BlobError("blob.meta does not match the table of contents")
        return data

    def _digests(self, count: int) -> bytes | None:
        section = self._section.get(layout.SECTION_DIGESTS)
        if section is None:
            return None
        if self.contents:
            return self._content(layout.SECTION_DIGESTS, count * DIGEST_SIZE)
        if section.size != count * DIGEST_SIZE:
            raise BlobError(f"{section.size} bytes of digests do not go with {count} chunks")
        return self._file.read(section.offset, section.size)

    def _read_contents(self) -> dict[bytes, TocEntry]:
        section = self._section.get(layout.SECTION_TOC)
        if section is None:
            return {}
        if section.size % TOC_ENTRY_SIZE or section.size > len(layout.SECTIONS) * TOC_ENTRY_SIZE:
            raise BlobError("the file does not end with a table of contents that a layer blob can have")
        data = self._file.read(section.offset, section.size)
        entries = [TocEntry.decode(data[i : i + TOC_ENTRY_SIZE]) for i in range(0, len(data), TOC_ENTRY_SIZE)]
        if [entry.name for entry in entries] != self._expected_lines():
            names = [entry.name for entry in entries]
            raise BlobError(f"the table of contents has the unexpected lines {names}")
        for entry in entries:
            self._check_line(entry)
        return {entry.name: entry for entry in entries}

    def _expected_lines(self) -> list[bytes]:
        """The lines that a table of contents must have for the sections that are there."""
        lines = []
        for section in self.sections[:-1]:
            lines.append(section.name)
            if section.name == layout.SECTION_CHUNK_INFO:
                lines.append(layout.SECTION_CHUNK_INFO_HEADER)
        return lines

    def _check_line(self, entry: TocEntry) -> None:
        """Compares a line of the table of contents with the section that it is about."""
        is_header = entry.name == layout.SECTION_CHUNK_INFO_HEADER
        section = self._section[layout.SECTION_CHUNK_INFO if is_header else entry.name]
        offset, size = section.offset, section.size
        if section.elsewhere:
            # nydus-image 2.2 counts back from where the chunks would end.
            offset, size = -section.elsewhere % (1 << 64), section.elsewhere
        if is_header:
            offset, size = section.end - CHUNK_INFO_HEADER_SIZE, CHUNK_INFO_HEADER_SIZE
        elif entry.name == layout.SECTION_CHUNK_INFO:
            size -= CHUNK_INFO_HEADER_SIZE
        if (entry.offset, entry.stored_size) != (offset, size):
            raise BlobError(f"{entry.name.decode()} does not lie where the table of contents has it")

    def _check_ends(self, table: ChunkTable, header: ChunkInfoHeader) -> None:
        """Compares where the last chunk ends with what is said of the chunk section."""
        section = self._section.get(layout.SECTION_CHUNKS)
        if header.features & BlobFeature.SEPARATE:
            if section is not None and section.size:
                raise BlobError("the blob has chunks, although it says that they are elsewhere")
            return
        if section is None or section.elsewhere:
            raise BlobError("the blob has a chunk info table, but no chunks")
        end = uncompressed_end = 0
        if len(table):
            end = table.compressed_offset[-1] + table.compressed_size[-1]
            uncompressed_end = table.uncompressed_offset[-1] + table.uncompressed_size[-1]
        if end > section.size:
            raise BlobError("the last chunk ends behind the chunk section")
        entry = self.contents.get(layout.SECTION_CHUNKS)
        if entry is None:
            return
        if entry.uncompressed_size != round_up(uncompressed_end, layout.CHUNK_ALIGNMENT):
            raise BlobError("the chunks and the table of contents end at different uncompressed offsets")

    def _content(self, name: bytes, limit: int) -> bytes:
        """What a line of the table of contents is about, compared with its digest."""
        entry = self.contents[name]
        if max(entry.stored_size, entry.uncompressed_size) > limit:
            raise BlobError(f"{name.decode()} has {entry.uncompressed_size} bytes, over the limit of {limit}")
        data = self._file.read(entry.offset, entry.stored_size)
        if entry.flags in _TOC_COMPRESSOR:
            data = decompress(data, entry.uncompressed_size, _TOC_COMPRESSOR[entry.flags], name.decode())
        if len(data) != entry.uncompressed_size or hashlib.sha256(data).digest() != entry.sha256:
            raise BlobError(f"{name.decode()} does not match the table of contents")
        return data
