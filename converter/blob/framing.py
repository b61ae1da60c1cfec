"""Finds the sections of a blob from its end backwards (§2.1).

A blob comes in one of four framings:

- sections with tar headers and a table of contents, as here and from the reference converter;
- sections with tar headers only (`nydus-image create --blob-inline-meta`);
- chunks, chunk info table and its header, one right behind the other (`create --blob-dir`);
- chunks and nothing else: blobs of RAFS v5. These cannot be told from any other file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Final

from converter.blob import layout
from converter.blob.layout import (
    CHUNK_INFO_HEADER_SIZE,
    SECTION_HEADER_SIZE,
    ChunkInfoHeader,
    read_section_header,
)
from converter.errors import BlobError

_ORDER: Final = (
    layout.SECTION_CHUNKS,
    layout.SECTION_CHUNK_INFO,
    layout.SECTION_DIGESTS,
    layout.SECTION_BOOTSTRAP,
    layout.SECTION_TOC,
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a blob; its tar header, if the blob has those, is not part of it.

    Args:
        name: as in its tar header.
        offset: in the blob, in bytes.
        size: in bytes.
        elsewhere: bytes of this section that its tar header announces but that lie in another blob, as
            nydus-image 2.2 has it in front of the index of a gzip file; `size` is 0 then.
    """

    name: bytes
    offset: int
    size: int
    elsewhere: int = 0

    @property
    def end(self) -> int:
        """Where it ends, which is where its tar header begins."""
        return self.offset + self.size


class BlobFile:
    """A blob that is read in places, each checked to lie inside it.

    Args:
        file: the blob, seekable.

    Attributes:
        size: bytes of the blob.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """Reads `size` bytes at `offset`.

        Raises:
            BlobError: they lie outside the blob.
        """
        if not 0 <= offset <= offset + size <= self.size:
            raise BlobError(f"bytes {offset}…{offset + size} lie outside the blob of {self.size} bytes")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise BlobError(f"the blob shrank while it was read: {size - len(data)} bytes are missing")
        return data


def find_sections(file: BlobFile) -> tuple[list[Section], bool]:
    """The sections of a blob in their order; they fill it without a gap but for their tar headers.

    Returns:
        The sections, and whether there are tar headers.

    Raises:
        BlobError: the blob has neither sections nor a chunk info header at its end.
    """
    if file.size >= SECTION_HEADER_SIZE:
        last = read_section_header(file.read(file.size - SECTION_HEADER_SIZE, SECTION_HEADER_SIZE))
        if last is not None:
            return _walk(file), True
    return _plain_sections(file), False


def _walk(file: BlobFile) -> list[Section]:
    sections: list[Section] = []
    end = file.size
    left = list(_ORDER)
    while end:
        found = None
        if end >= SECTION_HEADER_SIZE:
            found = read_section_header(file.read(end - SECTION_HEADER_SIZE, SECTION_HEADER_SIZE))
        if found is None:
            raise BlobError(f"there is no tar header of a section in front of byte {end} of the blob")
        name, size = found
        if name not in left:
            raise BlobError(f"the section {name[:16]!r} of the blob is unknown, comes twice, or not in order")
        del left[left.index(name) :]
        end -= SECTION_HEADER_SIZE
        if end == 0 and size and name == layout.SECTION_CHUNKS:
            sections.append(Section(name, 0, 0, size))
            break
        end -= size
        if end < 0:
            raise BlobError(f"the section {name.decode()} of the blob has {size} bytes, more than there are")
        sections.append(Section(name, end, size))
    return sections[::-1]


def _plain_sections(file: BlobFile) -> list[Section]:
    if file.size < CHUNK_INFO_HEADER_SIZE:
        raise BlobError(f"a file of {file.size} bytes without sections at its end is no blob")
    offset = file.size - CHUNK_INFO_HEADER_SIZE
    header = ChunkInfoHeader.decode(file.read(offset, CHUNK_INFO_HEADER_SIZE))
    if header.offset + header.compressed_size != offset:
        raise BlobError("the chunk info table does not end where its header begins")
    chunk_info = Section(layout.SECTION_CHUNK_INFO, header.offset, file.size - header.offset)
    return [Section(layout.SECTION_CHUNKS, 0, header.offset), chunk_info] if header.offset else [chunk_info]
