"""Reads layer blobs back, trusting nothing: for checks of what was written, and of what others hand us."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO, Final

from blake3 import blake3

from converter.blob import layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.codec import decompress
from converter.blob.layout import (
    SECTION_HEADER_SIZE,
    TOC_ENTRY_SIZE,
    ChunkInfoHeader,
    TocEntry,
    TocFlag,
    section_header,
)
from converter.errors import BlobError
from converter.options import MAX_CHUNK_SIZE
from converter.rafs.layout import Compressor, round_up

MAX_BOOTSTRAP_SIZE: Final = 1 << 30  # uncompressed; a million files need a tenth of it


class BlobReader:
    """A layer blob with a table of contents, as `converter.blob.writer` or the reference converter write it.

    Args:
        file: the blob, seekable.

    Raises:
        BlobError: here and from all methods: the blob breaks the format, or content does not match its
        digest.

    Attributes:
        contents: the lines of the table of contents by name.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self.contents = self._read_contents()

    def chunk_table(self) -> ChunkTable:
        """The chunk table, empty if the blob has none; `stored_sha256` is not in a blob and stays empty."""
        if layout.SECTION_CHUNK_INFO not in self.contents:
            return ChunkTable()
        entry = self.contents[layout.SECTION_CHUNK_INFO]
        header = ChunkInfoHeader.decode(
            self._content(layout.SECTION_CHUNK_INFO_HEADER, layout.CHUNK_INFO_HEADER_SIZE)
        )
        compressor = Compressor.ZSTD if entry.flags is TocFlag.ZSTD else Compressor.NONE
        seen = (header.compressor, header.offset, header.compressed_size, header.uncompressed_size)
        if seen != (compressor, entry.offset, entry.stored_size, entry.uncompressed_size):
            raise BlobError("the header of the chunk info table contradicts the table of contents")
        table = ChunkTable.decode(
            self._content(layout.SECTION_CHUNK_INFO, layout.MAX_CHUNK_INFO_SIZE),
            self._content(layout.SECTION_DIGESTS, 2 * layout.MAX_CHUNK_INFO_SIZE),
        )
        if header.entries != len(table):
            raise BlobError(f"the chunk info table has {len(table)} chunks, its header {header.entries}")
        self._check_ends(table)
        return table

    def chunk(self, table: ChunkTable, index: int) -> bytes:
        """The content of one chunk, compared with its digest."""
        size, stored_size = table.uncompressed_size[index], table.compressed_size[index]
        if size > MAX_CHUNK_SIZE:
            raise BlobError(f"chunk {index} has {size} bytes")
        data = self._read(table.compressed_offset[index], stored_size)
        if stored_size < size:
            data = decompress(data, size, Compressor.ZSTD, f"chunk {index}")
        if blake3(data).digest() != table.digest(index):
            raise BlobError(f"chunk {index} does not match its digest")
        return data

    def bootstrap(self) -> bytes:
        """The bootstrap inside the blob, compared with its digest."""
        return self._content(layout.SECTION_BOOTSTRAP, MAX_BOOTSTRAP_SIZE)

    def _read_contents(self) -> dict[bytes, TocEntry]:
        end = self._size - SECTION_HEADER_SIZE
        header = self._read(end, SECTION_HEADER_SIZE) if end >= 0 else b""
        count = next(
            (
                count
                for count in range(1, len(layout.SECTIONS) + 1)
                if header == section_header(layout.SECTION_TOC, count * TOC_ENTRY_SIZE)
            ),
            0,
        )
        if not count:
            raise BlobError("the file does not end with a table of contents that a layer blob can have")
        data = self._read(end - count * TOC_ENTRY_SIZE, count * TOC_ENTRY_SIZE)
        entries = [TocEntry.decode(data[i : i + TOC_ENTRY_SIZE]) for i in range(0, len(data), TOC_ENTRY_SIZE)]
        contents = {entry.name: entry for entry in entries}
        names = list(contents)
        if names not in (layout.SECTIONS, layout.SECTIONS[-1:]):
            raise BlobError(f"the table of contents has the unexpected lines {names}")
        return contents

    def _check_ends(self, table: ChunkTable) -> None:
        """Compares where the last chunk ends with what the table of contents says of the chunk section."""
        section = self.contents[layout.SECTION_CHUNKS]
        end = uncompressed_end = 0
        if len(table):
            end = table.compressed_offset[-1] + table.compressed_size[-1]
            uncompressed_end = table.uncompressed_offset[-1] + table.uncompressed_size[-1]
        if section.offset or end > section.stored_size:
            raise BlobError("the last chunk ends behind the chunk section")
        if section.stored_size + SECTION_HEADER_SIZE != self.contents[layout.SECTION_CHUNK_INFO].offset:
            raise BlobError("the chunk section does not end where the chunk info table begins")
        if section.uncompressed_size != round_up(uncompressed_end, layout.CHUNK_ALIGNMENT):
            raise BlobError("the chunks and the table of contents end at different uncompressed offsets")

    def _content(self, name: bytes, limit: int) -> bytes:
        entry = self.contents[name]
        if max(entry.stored_size, entry.uncompressed_size) > limit:
            raise BlobError(f"{name.decode()} has {entry.uncompressed_size} bytes, over the limit of {limit}")
        data = self._read(entry.offset, entry.stored_size)
        if entry.flags is TocFlag.ZSTD:
            data = decompress(data, entry.uncompressed_size, Compressor.ZSTD, name.decode())
        if len(data) != entry.uncompressed_size or hashlib.sha256(data).digest() != entry.sha256:
            raise BlobError(f"{name.decode()} does not match the table of contents")
        return data

    def _read(self, offset: int, size: int) -> bytes:
        if not 0 <= offset <= offset + size <= self._size:
            raise BlobError(f"bytes {offset}…{offset + size} lie outside the blob of {self._size} bytes")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise BlobError(f"the blob shrank while it was read: {size - len(data)} bytes are missing")
        return data
