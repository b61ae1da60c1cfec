"""Reads the head of a RAFS v6 bootstrap: superblocks, devices, blobs (§3.2 to §3.6, §5.2 to §5.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from converter.errors import BootstrapError
from converter.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from converter.rafs.features import unsupported_features
from converter.rafs.flags_reader import read_flags
from converter.rafs.layout import (
    BLOB_RECORD_SIZE,
    BLOCK_SIZE,
    CHUNK_INFO_V1_SIZE,
    CHUNK_INFO_V2_SIZE,
    DEVICE_SLOT_SIZE,
    DEVICE_TABLE_OFFSET,
    EXTENDED_SUPERBLOCK_OFFSET,
    MAX_BLOBS,
    MAX_CHUNK_INFO_SIZE,
    ROOT_NID,
    SLOT_SIZE,
    SUPERBLOCK_OFFSET,
    BlobFeature,
    Compressor,
    Digester,
)
from converter.rafs.records import BlobRecord, DeviceSlot, ExtendedSuperBlock, SuperBlock

# Usually 64 hexadecimal digits. nydus-image takes any text; here, one that is safe as the name of a file.
_BLOB_ID: Final = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
MAX_UNCOMPRESSED: Final = 1 << 44
MAX_COMPRESSED: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a bootstrap, checked."""

    super_block: SuperBlock
    extended: ExtendedSuperBlock
    compressor: Compressor
    digester: Digester
    blobs: tuple[BlobRecord, ...]  # their ids without padding

    @property
    def names(self) -> int:
        """Names in the tree, without the root."""
        return self.super_block.inodes - 1

    @property
    def metadata(self) -> int:
        """Where nid 0 would lie, in bytes."""
        return self.super_block.meta_block * BLOCK_SIZE


def read_head(view: memoryview) -> Head:
    """Reads superblocks and blobs.

    Args:
        view: the whole bootstrap, at least `layout.MIN_BOOTSTRAP_SIZE` bytes.

    Raises:
        BootstrapError: they break the format, or use a part of it that is not supported.
    """
    super_block = SuperBlock.decode(bytes(view[SUPERBLOCK_OFFSET:EXTENDED_SUPERBLOCK_OFFSET]))
    extended = ExtendedSuperBlock.decode(bytes(view[EXTENDED_SUPERBLOCK_OFFSET:DEVICE_TABLE_OFFSET]))
    _check_super_block(super_block, len(view))
    compressor, digester = read_flags(extended.flags)
    check_chunk_size(extended.chunk_size)
    blobs = _read_blobs(view, super_block, extended)
    if any(blob.digester != digester for blob in blobs):
        raise BootstrapError("a blob has other chunk digests than the superblock says")
    return Head(super_block, extended, compressor, digester, blobs)


def section(view: memoryview, offset: int, size: int, row: int, what: str) -> memoryview:
    """A table of the bootstrap: block-aligned, whole rows, inside the file, behind the superblock."""
    if size and (offset % BLOCK_SIZE or offset < BLOCK_SIZE):
        raise BootstrapError(f"the {what} begins at {offset}, not at a block of its own")
    if size % row or offset + size > len(view):
        raise BootstrapError(f"the {what} of {size} bytes at {offset} is not inside the file in whole rows")
    return view[offset : offset + size]


def check_chunk_size(chunk_size: int) -> None:
    """Checks that readers can take chunks of this size.

    Raises:
        BootstrapError: no power of two from 4096 to 16 MiB.
    """
    if chunk_size & (chunk_size - 1) or not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE:
        raise BootstrapError(f"{chunk_size} is no chunk size")


def check_blob_id(blob_id: bytes) -> None:
    """Checks that the id of a blob can name a file.

    Raises:
        BootstrapError: it cannot.
    """
    if not _BLOB_ID.fullmatch(blob_id):
        raise BootstrapError(f"a blob cannot have the id {blob_id[:80]!r}")


def _check_super_block(super_block: SuperBlock, size: int) -> None:
    expected = SuperBlock(
        inodes=super_block.inodes,
        blocks=super_block.blocks,
        meta_block=super_block.meta_block,
        devices=super_block.devices,
    )
    if super_block != expected:
        raise BootstrapError("the superblock is not one of RAFS v6 with 4096-byte blocks")
    if super_block.inodes == 0:
        raise BootstrapError("the superblock counts no inode, not even the root")
    if super_block.meta_block * BLOCK_SIZE + ROOT_NID * SLOT_SIZE >= size:
        raise BootstrapError(f"the metadata would begin at block {super_block.meta_block}, behind the end")


def _read_blobs(
    view: memoryview, super_block: SuperBlock, extended: ExtendedSuperBlock
) -> tuple[BlobRecord, ...]:
    count = super_block.devices
    table = section(
        view, extended.blob_table_offset, extended.blob_table_size, BLOB_RECORD_SIZE, "blob table"
    )
    if len(table) != count * BLOB_RECORD_SIZE or count > MAX_BLOBS:
        raise BootstrapError(f"a blob table of {len(table)} bytes does not go with {count} devices")
    if DEVICE_TABLE_OFFSET + count * DEVICE_SLOT_SIZE > len(view):
        raise BootstrapError("the device table is cut off")
    blobs = []
    for index in range(count):
        at = DEVICE_TABLE_OFFSET + index * DEVICE_SLOT_SIZE
        slot = DeviceSlot.decode(bytes(view[at : at + DEVICE_SLOT_SIZE]))
        row = table[index * BLOB_RECORD_SIZE : (index + 1) * BLOB_RECORD_SIZE]
        blob = BlobRecord.decode(bytes(row))
        blob = replace(blob, blob_id=blob.blob_id.rstrip(b"\0"))
        _check_blob(blob, slot, index, extended.chunk_size)
        blobs.append(blob)
    if len({blob.blob_id for blob in blobs}) != count:
        raise BootstrapError("a blob is named twice")
    if sum(blob.uncompressed_size for blob in blobs) != super_block.blocks * BLOCK_SIZE:
        raise BootstrapError("the blocks of the superblock are not those of the blobs")
    return tuple(blobs)


def _check_blob(blob: BlobRecord, slot: DeviceSlot, index: int, chunk_size: int) -> None:
    """Checks one row of the blob table against the device table and the limits of readers (§5.4)."""
    check_blob_id(blob.blob_id)
    if slot.tag.rstrip(b"\0") != blob.blob_id:
        raise BootstrapError(f"blob {index} has the id {blob.blob_id!r}, its device the tag {slot.tag!r}")
    problem = unsupported_features(blob.features)
    if problem:
        raise BootstrapError(f"blob {index} ({blob.blob_id.decode()}) {problem}")
    compressors = set(Compressor)
    sound = (
        blob.index == index
        and blob.chunk_size == chunk_size
        and blob.compressor in compressors
        and blob.ci_compressor in compressors
        and blob.cipher == blob.cipher_iv == 0
        and blob.features & BlobFeature.ALIGNED
        and 0 < blob.uncompressed_size <= MAX_UNCOMPRESSED
        and blob.uncompressed_size == slot.blocks * BLOCK_SIZE
        and blob.compressed_size <= MAX_COMPRESSED
        and _is_chunk_info_sound(blob)
    )
    if not sound:
        raise BootstrapError(f"blob {index} ({blob.blob_id.decode()}) has numbers that cannot be: {blob}")


def _is_chunk_info_sound(blob: BlobRecord) -> bool:
    """Whether what a blob's record says of its chunk info can be.

    The chunk info of a blob whose data are elsewhere lies in a blob of its own, of which the record need
    not know the size.
    """
    row = CHUNK_INFO_V2_SIZE if blob.features & BlobFeature.CHUNK_INFO_V2 else CHUNK_INFO_V1_SIZE
    size = row * blob.chunk_count
    end = blob.ci_offset + blob.ci_compressed_size
    return (
        blob.ci_compressed_size <= blob.ci_uncompressed_size <= MAX_CHUNK_INFO_SIZE
        and (
            blob.ci_uncompressed_size >= size
            if blob.features & BlobFeature.ZRAN
            else blob.ci_uncompressed_size == size
        )
        and end <= (MAX_COMPRESSED if blob.features & BlobFeature.SEPARATE else blob.compressed_size)
        and (bool(blob.features & BlobFeature.SEPARATE) or blob.meta_size == 0)
    )
