"""The records of which a bootstrap has few: superblock, extended superblock, device slot, blob record."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from converter.rafs.layout import (
    BLOB_RECORD_SIZE,
    BLOCK_BITS,
    DEVICE_SLOT_SIZE,
    DEVICE_TABLE_OFFSET,
    EXTENDED_SUPERBLOCK_OFFSET,
    ROOT_NID,
    SUPERBLOCK_OFFSET,
)

MAGIC: Final = 0xE0F5E1E2
COMPAT_RAFS_V6: Final = 0x40000000
INCOMPAT_CHUNKED_FILE_AND_DEVICE_TABLE: Final = 0x4 | 0x8


class _Record:
    """Fields in byte order, packed by `STRUCT`."""

    STRUCT: ClassVar[Struct]

    def encode(self) -> bytes:
        """The record's bytes."""
        return self.STRUCT.pack(*astuple(self))  # type: ignore[call-overload]  # each subclass is a dataclass

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads the record's bytes; judges nothing."""
        return cls(*cls.STRUCT.unpack(data))


@dataclass(frozen=True, slots=True)
class SuperBlock(_Record):
    """EROFS superblock: 128 bytes at 1024 (§3.2)."""

    STRUCT = Struct("<IIIBBH QQ IIII 16s 16s IHHH 38s".replace(" ", ""))

    magic: int = MAGIC
    checksum: int = 0
    feature_compat: int = COMPAT_RAFS_V6
    block_bits: int = BLOCK_BITS
    extension_slots: int = 0
    root_nid: int = ROOT_NID

    inodes: int = 0  # names in the tree and the root
    build_time: int = 0

    build_time_nsec: int = 0
    blocks: int = 0  # of all devices together
    meta_block: int = 0  # where nid 0 would lie
    xattr_block: int = 0

    uuid: bytes = bytes(16)

    volume_name: bytes = bytes(16)

    feature_incompat: int = INCOMPAT_CHUNKED_FILE_AND_DEVICE_TABLE
    union: int = 0
    devices: int = 0
    device_table_slot: int = DEVICE_TABLE_OFFSET // DEVICE_SLOT_SIZE
    reserved: bytes = bytes(38)


@dataclass(frozen=True, slots=True)
class ExtendedSuperBlock(_Record):
    """What RAFS adds: 256 bytes at 1152 (§3.3). Offsets and sizes are in bytes of the bootstrap."""

    STRUCT = Struct("<QQ IIQ QQ II 200s".replace(" ", ""))

    flags: int
    blob_table_offset: int

    blob_table_size: int
    chunk_size: int
    chunk_table_offset: int

    chunk_table_size: int
    prefetch_table_offset: int

    prefetch_table_size: int
    padding: int = 0
    reserved: bytes = bytes(200)


@dataclass(frozen=True, slots=True)
class DeviceSlot(_Record):
    """EROFS's view of a blob: 128 bytes each from 1408 (§3.4)."""

    STRUCT = Struct("<64s II 56s".replace(" ", ""))

    tag: bytes  # the blob id in hexadecimal

    blocks: int  # of the uncompressed address space
    mapped_block: int
    reserved: bytes = bytes(56)


@dataclass(frozen=True, slots=True)
class BlobRecord(_Record):
    """RAFS's view of a blob: 256 bytes each in the blob table (§3.6)."""

    STRUCT = Struct("<64s IIII II QQI I QQQ 32s 32s QQI 36s".replace(" ", ""))

    blob_id: bytes

    index: int
    chunk_size: int
    chunk_count: int
    compressor: int

    digester: int
    features: int
    compressed_size: int

    uncompressed_size: int
    toc_size: int
    ci_compressor: int

    ci_offset: int
    ci_compressed_size: int

    ci_uncompressed_size: int
    toc_digest: bytes = bytes(32)
    meta_digest: bytes = bytes(32)
    meta_size: int = 0

    cipher_iv: int = 0
    cipher: int = 0
    reserved: bytes = bytes(36)


for _record, _size in (
    (SuperBlock, EXTENDED_SUPERBLOCK_OFFSET - SUPERBLOCK_OFFSET),
    (ExtendedSuperBlock, DEVICE_TABLE_OFFSET - EXTENDED_SUPERBLOCK_OFFSET),
    (DeviceSlot, DEVICE_SLOT_SIZE),
    (BlobRecord, BLOB_RECORD_SIZE),
):
    if _record.STRUCT.size != _size:
        raise AssertionError(f"{_record.__name__} has {_record.STRUCT.size} bytes, not {_size}")
