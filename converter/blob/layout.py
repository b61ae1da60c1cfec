"""The records of a layer blob, and the framing of its sections.

A blob is a sequence of sections, each followed by a tar header of its own (§2.1)::

    chunks            header image.blob
    chunk info table  its 4096-byte header        header blob.meta
    chunk digests     header blob.digest
    bootstrap         header image.boot
    table of contents header rafs.blob.toc

A blob without chunks has only the last two. All integers are little-endian.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntFlag
from struct import Struct
from typing import ClassVar, Final, Self

from converter.errors import BlobError
from converter.rafs.layout import BlobFeature

SECTION_CHUNKS: Final = b"image.blob"
SECTION_CHUNK_INFO: Final = b"blob.meta"
SECTION_CHUNK_INFO_HEADER: Final = b"blob.meta.header"  # only in the table of contents: it has no tar header
SECTION_DIGESTS: Final = b"blob.digest"
SECTION_BOOTSTRAP: Final = b"image.boot"
SECTION_TOC: Final = b"rafs.blob.toc"
# The lines of a table of contents in their order. A blob without chunks has only the last one.
SECTIONS: Final = [
    SECTION_CHUNKS,
    SECTION_CHUNK_INFO,
    SECTION_CHUNK_INFO_HEADER,
    SECTION_DIGESTS,
    SECTION_BOOTSTRAP,
]

SECTION_HEADER_SIZE: Final = 512
CHUNK_INFO_HEADER_SIZE: Final = 4096
DIGEST_SIZE: Final = 32
TOC_ENTRY_SIZE: Final = 128

CHUNK_ALIGNMENT: Final = 4096  # in the uncompressed address space
MAX_COMPRESSED_OFFSET: Final = (1 << 40) - 1
MAX_UNCOMPRESSED_SIZE: Final = 1 << 44
MAX_CHUNK_INFO_SIZE: Final = 256 << 20  # of the uncompressed table; nydusd's limit for this version of it

FEATURES: Final = (
    BlobFeature.ALIGNED
    | BlobFeature.INLINED_FS_META
    | BlobFeature.INLINED_CHUNK_DIGEST
    | BlobFeature.HAS_TAR_HEADER
    | BlobFeature.HAS_TOC
    | BlobFeature.CAP_TAR_TOC
)

_MAGIC: Final = 0xB10BB10B


class TocFlag(IntFlag):
    """How a section is stored."""

    STORED = 1
    ZSTD = 2
    LZ4_BLOCK = 4


@dataclass(frozen=True, slots=True)
class ChunkInfoHeader:
    """Describes the chunk info table in front of it (§2.5): 4096 bytes, zero behind these fields."""

    STRUCT: ClassVar[Struct] = Struct("<IIII QQ QQ QI 4032x I".replace(" ", ""))

    features: int
    compressor: int  # of the table
    entries: int

    offset: int  # of the table as stored, from the beginning of the blob
    compressed_size: int

    uncompressed_size: int
    zran_offset: int = 0

    zran_size: int = 0
    zran_count: int = 0

    def encode(self) -> bytes:
        """The record with both of its magics."""
        return self.STRUCT.pack(_MAGIC, *astuple(self), _MAGIC)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads the record.

        Raises:
            BlobError: a wrong length or magic.
        """
        if len(data) != cls.STRUCT.size:
            raise BlobError(f"the header of a chunk info table has {len(data)} bytes")
        magic, *fields, magic2 = cls.STRUCT.unpack(data)
        if (magic, magic2) != (_MAGIC, _MAGIC):
            raise BlobError(f"the header of a chunk info table has the magics {magic:#x} and {magic2:#x}")
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One section in the table of contents (§2.6): 128 bytes."""

    STRUCT: ClassVar[Struct] = Struct("<I4x 16s 32s QQ Q 48x".replace(" ", ""))

    flags: TocFlag
    name: bytes  # NUL-padded to 16 bytes
    sha256: bytes  # of the uncompressed content; of the stored chunks and their tar header for `image.blob`
    offset: int  # in the blob
    stored_size: int
    uncompressed_size: int

    def encode(self) -> bytes:
        """The record."""
        return self.STRUCT.pack(*astuple(self))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads the record.

        Raises:
            BlobError: flags other than exactly one known one, or something where zeros belong.
        """
        flags, name, *rest = cls.STRUCT.unpack(data)
        if flags not in (TocFlag.STORED, TocFlag.ZSTD, TocFlag.LZ4_BLOCK):
            raise BlobError(f"an entry of a table of contents has the flags {flags:#x}")
        entry = cls(TocFlag(flags), name.rstrip(b"\0"), *rest)
        if entry.encode() != data:
            raise BlobError("an entry of a table of contents has unknown fields")
        return entry


for _record, _size in ((ChunkInfoHeader, CHUNK_INFO_HEADER_SIZE), (TocEntry, TOC_ENTRY_SIZE)):
    if _record.STRUCT.size != _size:
        raise AssertionError(f"{_record.__name__} has {_record.STRUCT.size} bytes, not {_size}")


def section_header(name: bytes, size: int) -> bytes:
    """The tar header behind a section (§2.2): GNU, all zero but for name, size, time 0, checksum and type.

    Args:
        name: of the section.
        size: bytes of the section in front of it.
    """
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    record = bytearray(SECTION_HEADER_SIZE)
    record[: len(name)] = name
    record[124:136] = length
    record[136:148] = b"00000000000\0"
    record[148:156] = b" " * 8
    record[156:157] = b"0"
    record[257:265] = b"ustar  \0"
    record[148:156] = b"%07o\0" % sum(record)
    return bytes(record)


def read_section_header(record: bytes) -> tuple[bytes, int] | None:
    """The name and size of a section by the header behind it; None if it is no such header, to the last byte.

    Args:
        record: 512 bytes.
    """
    name = record[:16].rstrip(b"\0")
    field = record[124:136]
    if field[:1] == b"\x80":
        size = int.from_bytes(field[1:], "big")
    elif field[:11].isdigit() and not {b"8"[0], b"9"[0]} & set(field[:11]):
        size = int(field[:11], 8)
    else:
        return None
    return (name, size) if name and section_header(name, size) == record else None
