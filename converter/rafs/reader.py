"""Reads bootstraps back, trusting nothing (§3, §5.2 to §5.5).

What is accepted is what `bootstrap` writes, and what the reference builder writes with the same features: no
batch, encrypted, ZRAN or tarfs images. Every offset is checked before it is used, and what is allocated is
bounded by the size of the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from converter.rafs.inode_area import InodeArea
from converter.rafs.layout import (
    BLOB_RECORD_SIZE,
    BLOCK_SIZE,
    CHUNK_RECORD,
    COMPRESSOR_FLAG,
    DEVICE_SLOT_SIZE,
    DEVICE_TABLE_OFFSET,
    DIGESTER_FLAG,
    EXTENDED_SUPERBLOCK_OFFSET,
    MAX_BLOBS,
    MIN_BOOTSTRAP_SIZE,
    ROOT_NID,
    SLOT_SIZE,
    SUPERBLOCK_OFFSET,
    BlobFeature,
    Compressor,
    Digester,
    SuperFlag,
)
from converter.rafs.records import BlobRecord, DeviceSlot, ExtendedSuperBlock, SuperBlock
from converter.rafs.tree_reader import read_tree
from converter.tree import FileTree

_BLOB_ID: Final = re.compile(rb"[0-9a-f]{64}|x{64}")
_KNOWN_CHUNK_FLAGS: Final = 0x11  # compressed, has a CRC
# As plain integers: the complement of an IntFlag leaves out the bits that it has no name for.
_REQUIRED_FLAGS: Final = int(SuperFlag.EXPLICIT_UID_GID | SuperFlag.NOT_ENCRYPTED)
_OPTIONAL_FLAGS: Final = int(SuperFlag.HAS_XATTR | SuperFlag.INLINED_CHUNK_DIGEST)
_KNOWN_FEATURES: Final = int(
    BlobFeature.ALIGNED
    | BlobFeature.INLINED_FS_META
    | BlobFeature.INLINED_CHUNK_DIGEST
    | BlobFeature.HAS_TAR_HEADER
    | BlobFeature.HAS_TOC
    | BlobFeature.CAP_TAR_TOC
)
_MAX_UNCOMPRESSED: Final = 1 << 44
_MAX_COMPRESSED: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a bootstrap says.

    Args:
        name_count: names in the tree, without the root.
        tree: the files; `chunk_blob` has indexes into `blobs`, `chunk_refs` indexes of chunks in those.
        blobs: the blob table.
        chunks: the chunk table, one row of `layout.CHUNK_RECORD` for each chunk in use.
        compressor: of the chunks.
        digester: of the chunks.
        chunk_size: bytes of a chunk.
    """

    name_count: int
    tree: FileTree
    blobs: tuple[BlobRecord, ...]
    chunks: npt.NDArray[Any]
    compressor: Compressor
    chunk_size: int
    digester: Digester


def read_bootstrap(data: bytes | bytearray | memoryview) -> Bootstrap:
    """Reads a whole bootstrap.

    Args:
        data: the file.

    Raises:
        BootstrapError: it breaks the format, or uses a part of it that is not supported.
    """
    view = memoryview(data).cast("B")
    if len(view) < MIN_BOOTSTRAP_SIZE or len(view) % BLOCK_SIZE:
        raise BootstrapError(f"a bootstrap cannot have {len(view)} bytes")
    super_block = SuperBlock.decode(bytes(view[SUPERBLOCK_OFFSET:EXTENDED_SUPERBLOCK_OFFSET]))
    extended = ExtendedSuperBlock.decode(bytes(view[EXTENDED_SUPERBLOCK_OFFSET:DEVICE_TABLE_OFFSET]))
    _check_super_block(super_block, len(view))
    compressor, digester = _read_flags(extended.flags)
    blobs = _read_blobs(view, super_block, extended)
    if any(blob.digester != digester for blob in blobs):
        raise BootstrapError("a blob has other chunk digests than the superblock says")
    chunks = _read_chunk_table(view, extended, blobs)
    area = InodeArea(view, super_block.meta_block * BLOCK_SIZE)
    tree = read_tree(area, super_block.inodes - 1, chunks, extended.chunk_size)
    if tree.xattrs and not extended.flags & SuperFlag.HAS_XATTR:
        raise BootstrapError("there are extended attributes, but the superblock says there are none")
    return Bootstrap(super_block.inodes - 1, tree, blobs, chunks, compressor, extended.chunk_size, digester)


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


def _read_flags(flags: int) -> tuple[Compressor, Digester]:
    for compressor, digester in product(COMPRESSOR_FLAG, DIGESTER_FLAG):
        chosen = COMPRESSOR_FLAG[compressor] | DIGESTER_FLAG[digester]
        if flags & ~_OPTIONAL_FLAGS == _REQUIRED_FLAGS | chosen:
            return compressor, digester
    raise BootstrapError(f"the extended superblock has the flags {flags:#x}, which are not supported")


def _section(view: memoryview, offset: int, size: int, row: int, what: str) -> memoryview:
    """A table of the bootstrap: block-aligned, whole rows, inside the file, behind the superblock."""
    if size and (offset % BLOCK_SIZE or offset < BLOCK_SIZE):
        raise BootstrapError(f"the {what} begins at {offset}, not at a block of its own")
    if size % row or offset + size > len(view):
        raise BootstrapError(f"the {what} of {size} bytes at {offset} is not inside the file in whole rows")
    return view[offset : offset + size]


def _read_blobs(
    view: memoryview, super_block: SuperBlock, extended: ExtendedSuperBlock
) -> tuple[BlobRecord, ...]:
    chunk_size = extended.chunk_size
    if chunk_size & (chunk_size - 1) or not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE:
        raise BootstrapError(f"{chunk_size} is no chunk size")
    count = super_block.devices
    table = _section(
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
        blobs.append(_check_blob(BlobRecord.decode(bytes(row)), slot, index, chunk_size))
    if len({blob.blob_id for blob in blobs}) != count:
        raise BootstrapError("a blob is named twice")
    if sum(blob.uncompressed_size for blob in blobs) != super_block.blocks * BLOCK_SIZE:
        raise BootstrapError("the blocks of the superblock are not those of the blobs")
    return tuple(blobs)


def _check_blob(blob: BlobRecord, slot: DeviceSlot, index: int, chunk_size: int) -> BlobRecord:
    """Checks one row of the blob table against the device table and the limits of readers (§5.4)."""
    if not _BLOB_ID.fullmatch(blob.blob_id) or slot.tag != blob.blob_id:
        raise BootstrapError(f"blob {index} has the id {blob.blob_id!r}, its device the tag {slot.tag!r}")
    compressors = set(Compressor)
    sound = (
        blob.index == index
        and blob.chunk_size == chunk_size
        and blob.compressor in compressors
        and blob.ci_compressor in compressors
        and blob.cipher == blob.cipher_iv == blob.meta_size == 0
        and not blob.features & ~_KNOWN_FEATURES
        and blob.features & BlobFeature.ALIGNED
        and 0 < blob.uncompressed_size <= _MAX_UNCOMPRESSED
        and blob.uncompressed_size == slot.blocks * BLOCK_SIZE
        and blob.compressed_size <= _MAX_COMPRESSED
        and blob.ci_offset + blob.ci_compressed_size <= blob.compressed_size
        and blob.ci_compressed_size <= blob.ci_uncompressed_size == 16 * blob.chunk_count
    )
    if not sound:
        raise BootstrapError(f"blob {index} ({blob.blob_id.decode()}) has numbers that cannot be: {blob}")
    return blob


def _read_chunk_table(
    view: memoryview, extended: ExtendedSuperBlock, blobs: tuple[BlobRecord, ...]
) -> npt.NDArray[Any]:
    section = _section(
        view, extended.chunk_table_offset, extended.chunk_table_size, CHUNK_RECORD.itemsize, "chunk table"
    )
    chunks = np.frombuffer(bytes(section), CHUNK_RECORD)
    if len(chunks) and chunks["blob_index"].max() >= len(blobs):
        raise BootstrapError("the chunk table names a blob that the blob table does not have")
    blob = chunks["blob_index"]
    end = chunks["uncompressed_offset"] + chunks["uncompressed_size"]
    wrong = (
        (chunks["index"] >= np.array([b.chunk_count for b in blobs], np.uint64)[blob])
        | (end > np.array([b.uncompressed_size for b in blobs], np.uint64)[blob])
        | (chunks["uncompressed_offset"] > _MAX_UNCOMPRESSED)
        | (chunks["uncompressed_offset"] % BLOCK_SIZE != 0)
        | (chunks["uncompressed_size"] == 0)
        | (chunks["uncompressed_size"] > extended.chunk_size)
        | (chunks["compressed_size"] > chunks["uncompressed_size"])
        | (chunks["flags"] & ~np.uint32(_KNOWN_CHUNK_FLAGS) != 0)
        | ((chunks["flags"] & 1 == 1) != (chunks["compressed_size"] < chunks["uncompressed_size"]))
    )
    if wrong.any():
        raise BootstrapError(f"row {int(np.argmax(wrong))} of the chunk table has numbers that cannot be")
    return chunks
