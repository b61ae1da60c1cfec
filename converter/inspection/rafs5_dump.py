"""The bytes of a RAFS v5 bootstrap in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import numpy as np

from converter.inspection.bootstrap_dump import show_chunks
from converter.inspection.lines import Claim, account, format_fields, show_name
from converter.rafs.layout import CHUNK_RECORD, round_up
from converter.rafs5.head_reader import Head, read_head
from converter.rafs5.layout import (
    ALIGNMENT,
    INODE,
    INODE_TABLE_ENTRY_SIZE,
    PREFETCH_ENTRY_SIZE,
    SUPERBLOCK_SIZE,
    XATTRS_HEAD_SIZE,
    ExtendedBlob,
    SuperBlock,
)
from converter.rafs5.reader import read_bootstrap_v5
from converter.rafs5.records_reader import Records, read_records

_HEXADECIMAL: Final = frozenset({"magic", "version", "flags", "features"})


def dump_v5(view: memoryview) -> Iterator[str]:
    """Writes a bootstrap out, record by record; what stands in front of an error comes before it.

    Args:
        view: the whole file, at least as long as a superblock.

    Raises:
        BootstrapError: it breaks the format.
    """

    def read(offset: int, size: int) -> memoryview:
        return view[offset : offset + size]

    head = read_head(view)
    claims = sorted(_head_claims(view, head), key=lambda claim: claim.offset)
    end = claims[-1].offset + claims[-1].size
    yield from account(claims, 0, end, read)
    read_bootstrap_v5(view)
    yield from account(_inode_claims(head, read_records(view, head.positions)), end, len(view), read)


def _show(record: SuperBlock | ExtendedBlob) -> str:
    shown = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, int):
            shown[field.name] = f"{value:#x}" if field.name in _HEXADECIMAL else str(value)
    return format_fields(**shown)


def _head_claims(view: memoryview, head: Head) -> Iterator[Claim]:
    superblock = head.super_block
    yield Claim(0, SUPERBLOCK_SIZE, f"superblock {_show(superblock)}")
    for row, position in enumerate(head.positions.tolist()):
        at = superblock.inode_table_offset + row * INODE_TABLE_ENTRY_SIZE
        yield Claim(at, INODE_TABLE_ENTRY_SIZE, f"inode table index={row + 1} position={position:#x}")
    for row, ino in enumerate(head.prefetch):
        at = superblock.prefetch_table_offset + row * PREFETCH_ENTRY_SIZE
        yield Claim(at, PREFETCH_ENTRY_SIZE, f"prefetch ino={ino}")
    if superblock.blob_table_size:
        ids = " ".join(blob.blob_id.decode() for blob in head.blobs)
        yield Claim(superblock.blob_table_offset, superblock.blob_table_size, f"blob table {ids}")
    for row in range(superblock.extended_entries):
        at = superblock.extended_offset + row * ExtendedBlob.STRUCT.size
        record = ExtendedBlob.decode(bytes(view[at : at + ExtendedBlob.STRUCT.size]))
        yield Claim(at, ExtendedBlob.STRUCT.size, f"extended blob {row} {_show(record)}")


def _inode_claims(head: Head, records: Records) -> Iterator[Claim]:
    """Inodes with what follows them, by position; padding is left to who accounts for all bytes."""
    first = np.cumsum(records.chunk_counts) - records.chunk_counts
    for row in np.argsort(head.positions).tolist():
        inode, name = records.inodes[row], records.names[row]
        at = int(head.positions[row])
        yield Claim(at, INODE.itemsize, f"inode index={row + 1} {_show_inode(inode)}")
        at += INODE.itemsize
        yield Claim(at, len(name), f"name {show_name(name)}")
        at += round_up(len(name), ALIGNMENT)
        if row in records.targets:
            target = records.targets[row]
            yield Claim(at, len(target), f"target {show_name(target)}")
            at += round_up(len(target), ALIGNMENT)
        if row in records.xattrs:
            size = records.xattr_sizes[row]
            shown = " ".join(
                f"{show_name(key)}={value.hex() or '(empty)'}" for key, value in records.xattrs[row]
            )
            yield Claim(at, XATTRS_HEAD_SIZE + size, f"xattrs {shown}")
            at += XATTRS_HEAD_SIZE + round_up(size, ALIGNMENT)
        for text in show_chunks(records.chunks[first[row] : first[row] + records.chunk_counts[row]]):
            yield Claim(at, CHUNK_RECORD.itemsize, text)
            at += CHUNK_RECORD.itemsize


def _show_inode(inode: Any) -> str:
    shown = {name: inode[name] for name in INODE.names or () if name not in ("digest", "mode", "reserved")}
    return format_fields(mode=f"{inode['mode']:o}", digest=inode["digest"].tobytes().hex(), **shown)
