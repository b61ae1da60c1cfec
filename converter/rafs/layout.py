"""Numbers of the RAFS v6 layout: sizes, flags, and the records that come by the million.

All integers are little-endian. Records that come by the million are numpy dtypes, so that they are written
and read in bulk; the few others are dataclasses in `records`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

BLOCK_BITS: Final = 12
BLOCK_SIZE: Final = 1 << BLOCK_BITS
SLOT_SIZE: Final = 32  # an inode lies on such a boundary; its nid counts them from the start of the metadata
META_GAP: Final = BLOCK_SIZE  # unused space before the root inode
ROOT_NID: Final = META_GAP // SLOT_SIZE

SUPERBLOCK_OFFSET: Final = 1024
EXTENDED_SUPERBLOCK_OFFSET: Final = SUPERBLOCK_OFFSET + 128
DEVICE_TABLE_OFFSET: Final = EXTENDED_SUPERBLOCK_OFFSET + 256
DEVICE_SLOT_SIZE: Final = 128
BLOB_RECORD_SIZE: Final = 256
# Devices follow the bootstrap at this alignment in the one virtual disk that `mapped_block` describes (§3.4).
DEVICE_ALIGNMENT: Final = 0x80000

MAX_BLOBS: Final = 254
MAX_CHUNK_INDEX: Final = 0xFFFFFE
MAX_NAME_LENGTH: Final = 255
MAX_SYMLINK_LENGTH: Final = 4095  # Linux makes no longer ones (PATH_MAX), and FUSE hands out no longer ones
MAX_INODE_NUMBER: Final = (1 << 31) - 1
MIN_BOOTSTRAP_SIZE: Final = 8192  # what a reader reads at first, looking for RAFS v5

# A blob that is named after its own digest cannot know its name while its bootstrap is written (§2.7).
UNKNOWN_BLOB_ID: Final = "x" * 64


class Compressor(IntEnum):
    """Compression of chunks, chunk info or bootstrap, as tables name it."""

    NONE = 0
    LZ4_BLOCK = 1
    GZIP = 2
    ZSTD = 3


class Digester(IntEnum):
    """Digest of a chunk's content, as tables name it."""

    BLAKE3 = 0
    SHA256 = 1


class BlobFeature(IntFlag):
    """Properties of a data blob (§2.3); those in the low 16 bits must be understood by a reader."""

    ALIGNED = 0x00000001
    INLINED_FS_META = 0x00000002
    CHUNK_INFO_V2 = 0x00000004
    ZRAN = 0x00000008
    SEPARATE = 0x00000010
    INLINED_CHUNK_DIGEST = 0x00000020
    TARFS = 0x00000040
    BATCH = 0x00000080
    ENCRYPTED = 0x00000100
    CHUNK_DICT_GENERATED = 0x00000200
    PREFETCH_FILES = 0x00000400
    EXTERNAL = 0x00000800
    HAS_TAR_HEADER = 0x10000000
    HAS_TOC = 0x20000000
    CAP_TAR_TOC = 0x40000000


class SuperFlag(IntFlag):
    """Properties of a whole bootstrap (§3.3)."""

    COMPRESS_NONE = 0x00000001
    COMPRESS_LZ4 = 0x00000002
    DIGEST_BLAKE3 = 0x00000004
    DIGEST_SHA256 = 0x00000008
    EXPLICIT_UID_GID = 0x00000010
    HAS_XATTR = 0x00000020
    COMPRESS_GZIP = 0x00000040
    COMPRESS_ZSTD = 0x00000080
    INLINED_CHUNK_DIGEST = 0x00000100
    TARFS = 0x00000200
    NOT_ENCRYPTED = 0x01000000
    ENCRYPTED = 0x02000000


COMPRESSOR_FLAG: Final = {
    Compressor.NONE: SuperFlag.COMPRESS_NONE,
    Compressor.LZ4_BLOCK: SuperFlag.COMPRESS_LZ4,
    Compressor.GZIP: SuperFlag.COMPRESS_GZIP,
    Compressor.ZSTD: SuperFlag.COMPRESS_ZSTD,
}
DIGESTER_FLAG: Final = {
    Digester.BLAKE3: SuperFlag.DIGEST_BLAKE3,
    Digester.SHA256: SuperFlag.DIGEST_SHA256,
}


class InodeFormat(IntEnum):
    """First field of an inode: bit 0 for the 64-byte form, then where the data lie."""

    FLAT_PLAIN = 0x1  # all data in blocks of their own
    FLAT_INLINE = 0x5  # full blocks of their own, the rest behind the inode
    CHUNK_BASED = 0x9  # an array of chunk indexes behind the inode


CHUNK_FORMAT_INDEXES: Final = 0x20  # in an inode's `i_u`: 8-byte chunk indexes

# Type in a directory entry, by the upper four bits of st_mode.
FILE_TYPE: Final = {0o10: 1, 0o04: 2, 0o02: 3, 0o06: 4, 0o01: 5, 0o14: 6, 0o12: 7}

INODE: Final = np.dtype(
    [
        ("format", "<u2"),
        ("xattr_icount", "<u2"),  # 0, or (bytes of xattrs - 12) / 4 + 1
        ("mode", "<u2"),
        ("reserved1", "<u2"),
        ("size", "<u8"),
        #
        ("i_u", "<u4"),  # block of the data, or chunk format, or device number
        ("ino", "<u4"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        #
        ("mtime", "<i8"),
        ("mtime_nsec", "<u4"),
        ("nlink", "<u4"),
        #
        ("reserved2", "V16"),
    ]
)

DIRENT: Final = np.dtype(
    [
        ("nid", "<u8"),
        ("name_offset", "<u2"),  # in this block; the first one is 12 times the number of entries
        ("file_type", "u1"),
        ("reserved", "u1"),
    ]
)

CHUNK_INDEX: Final = np.dtype(
    [
        ("index_low", "<u2"),  # bits 15-0 of the chunk's index in the blob
        ("device", "u1"),  # blob index + 1
        ("index_high", "u1"),  # bits 23-16
        ("block", "<u4"),  # block in the blob's uncompressed address space
    ]
)

PREFETCH_ENTRY: Final = np.dtype("<u4")  # a nid

CHUNK_RECORD: Final = np.dtype(
    [
        ("digest", "V32"),  # of the uncompressed chunk
        #
        ("blob_index", "<u4"),
        ("flags", "<u4"),
        ("compressed_size", "<u4"),
        ("uncompressed_size", "<u4"),
        #
        ("compressed_offset", "<u8"),
        ("uncompressed_offset", "<u8"),
        #
        ("file_offset", "<u8"),  # of one file that has the chunk; nobody reads it
        ("index", "<u4"),
        ("crc32c", "<u4"),
    ]
)
# Rows of the chunk info table inside a blob (§2.5).
CHUNK_INFO_V1_SIZE: Final = 16
CHUNK_INFO_V2_SIZE: Final = 24
MAX_CHUNK_INFO_SIZE: Final = 384 << 20  # of the uncompressed table; nydusd's limit for version 2
CHUNK_COMPRESSED: Final = 1  # in `flags`; there is no other that we set

XATTR_HEADER_SIZE: Final = 12
XATTR_ENTRY_SIZE: Final = 4
MAX_XATTR_BYTES: Final = XATTR_HEADER_SIZE + 4 * 0xFFFE

for _dtype, _size in ((INODE, 64), (DIRENT, 12), (CHUNK_INDEX, 8), (CHUNK_RECORD, 80)):
    if _dtype.itemsize != _size:
        raise AssertionError(f"a record of {_size} bytes is declared with {_dtype.itemsize}")


def round_up(value: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `value`."""
    return -(-value // unit) * unit
