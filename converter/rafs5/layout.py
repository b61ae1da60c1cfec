"""The records of a RAFS v5 bootstrap (§9). All integers are little-endian.

The file is: superblock, inode table, prefetch table, blob table, extended blob table, inodes. Everything
begins at a multiple of 8 bytes.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntFlag
from struct import Struct
from typing import ClassVar, Final, Self

import numpy as np

ALIGNMENT: Final = 8
SUPERBLOCK_SIZE: Final = 8192
MAGIC: Final = 0x52414653
VERSION: Final = 0x500
MAGIC_AND_VERSION: Final = MAGIC.to_bytes(4, "little") + VERSION.to_bytes(4, "little")
ROOT_INO: Final = 1
ROOT_NAME: Final = b"/"
INODE_TABLE_ENTRY_SIZE: Final = 4  # position of an inode in units of 8 bytes
PREFETCH_ENTRY_SIZE: Final = 4  # number of an inode
BLOB_ENTRY_HEAD_SIZE: Final = 8  # two numbers that are 0 today; the id follows, and a NUL between two entries
XATTRS_HEAD_SIZE: Final = 8  # bytes of all pairs
XATTR_HEAD_SIZE: Final = 4  # bytes of a pair: name, NUL, value


class InodeFlag(IntFlag):
    """Properties of an inode (§9.3)."""

    SYMLINK = 1
    HARDLINK = 2
    XATTR = 4
    HAS_HOLE = 8


@dataclass(frozen=True, slots=True)
class SuperBlock:
    """The first 80 of 8192 bytes (§9.1); the rest is zero. Offsets are in bytes of the bootstrap."""

    STRUCT: ClassVar[Struct] = Struct("<IIII QQ QQ QII IIQ".replace(" ", ""))

    magic: int = MAGIC
    version: int = VERSION
    superblock_size: int = SUPERBLOCK_SIZE
    chunk_size: int = 0

    flags: int = 0  # rafs.layout.SuperFlag
    inodes: int = 0  # a file with several names counts once, the root not at all

    inode_table_offset: int = 0
    prefetch_table_offset: int = 0

    blob_table_offset: int = 0
    inode_table_entries: int = 0  # one for each name, and the root
    prefetch_table_entries: int = 0

    blob_table_size: int = 0
    extended_entries: int = 0
    extended_offset: int = 0

    def encode(self) -> bytes:
        """The whole superblock."""
        return self.STRUCT.pack(*astuple(self)).ljust(SUPERBLOCK_SIZE, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads the fields from the beginning of `data`; judges nothing."""
        return cls(*cls.STRUCT.unpack_from(data))


@dataclass(frozen=True, slots=True)
class ExtendedBlob:
    """What is known of a blob beside its id: 64 bytes (§9.2)."""

    STRUCT: ClassVar[Struct] = Struct("<II QQ 40s".replace(" ", ""))

    chunk_count: int
    features: int
    uncompressed_size: int

    compressed_size: int
    reserved: bytes = bytes(40)

    def encode(self) -> bytes:
        """The record."""
        return self.STRUCT.pack(*astuple(self))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads the record; judges nothing."""
        return cls(*cls.STRUCT.unpack(data))


# Name, target of a symlink and extended attributes follow, each padded to 8 bytes, then the chunk records
# (rafs.layout.CHUNK_RECORD).
INODE: Final = np.dtype(
    [
        ("digest", "V32"),  # of the digests of chunks or children, or of the target of a symlink (§9.4)
        #
        ("parent", "<u8"),
        ("ino", "<u8"),
        #
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("project", "<u4"),
        ("mode", "<u4"),
        #
        ("size", "<u8"),
        ("blocks", "<u8"),  # of 512 bytes, for size and extended attributes together
        #
        ("flags", "<u8"),
        ("nlink", "<u4"),
        ("child_index", "<u4"),  # number of a directory's first child
        #
        ("child_count", "<u4"),  # of a regular file its chunks
        ("name_size", "<u2"),
        ("symlink_size", "<u2"),
        ("rdev", "<u4"),
        ("mtime_nsec", "<u4"),
        #
        ("mtime", "<i8"),
        ("reserved", "<u8"),
    ]
)

if (SuperBlock.STRUCT.size, ExtendedBlob.STRUCT.size, INODE.itemsize) != (80, 64, 128):
    raise AssertionError("a record of RAFS v5 is declared with another size than it has")
