"""The head and the tables of a RAFS v6 bootstrap in words; `tree_dump` has what lies between them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import numpy.typing as npt

from converter.inspection.lines import Claim, account, format_fields, show_name
from converter.inspection.tree_dump import tree_claims
from converter.rafs.chunk_table_reader import read_chunk_table
from converter.rafs.head_reader import Head, read_head
from converter.rafs.layout import (
    BLOB_RECORD_SIZE,
    CHUNK_RECORD,
    DEVICE_SLOT_SIZE,
    DEVICE_TABLE_OFFSET,
    EXTENDED_SUPERBLOCK_OFFSET,
    SUPERBLOCK_OFFSET,
)
from converter.rafs.records import BlobRecord, DeviceSlot, ExtendedSuperBlock, SuperBlock

_PREFETCH_ENTRY_SIZE: Final = 4
_BATCH: Final = 1 << 14
_HEXADECIMAL: Final = frozenset(
    {"magic", "features", "feature_compat", "feature_incompat", "flags", "blob_table_offset",
     "chunk_table_offset", "prefetch_table_offset", "ci_offset"}
)  # fmt: skip


def dump_v6(view: memoryview) -> Iterator[str]:
    """Writes a bootstrap out, record by record; what stands in front of an error comes before it.

    Args:
        view: the whole file, at least as long as the superblocks.

    Raises:
        BootstrapError: it breaks the format.
    """
    head = read_head(view)
    claims = list(_head_claims(view, head))
    end = claims[-1].offset + claims[-1].size

    def read(offset: int, size: int) -> memoryview:
        return view[offset : offset + size]

    yield from account(claims, 0, end, read)
    rest = heapq.merge(tree_claims(view, head), chunk_claims(view, head), key=attrgetter("offset"))
    yield from account(rest, end, len(view), read)


def show_record(record: SuperBlock | ExtendedSuperBlock | DeviceSlot | BlobRecord) -> str:
    """The fields of a record, without those that are empty bytes."""
    shown = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, bytes):
            if not any(value):
                continue
            is_text = field.name in ("tag", "blob_id")
            value = show_name(value.rstrip(b"\0")) if is_text else value.hex()
        elif field.name in _HEXADECIMAL:
            value = f"{value:#x}"
        shown[field.name] = value
    return format_fields(**shown)


def _head_claims(view: memoryview, head: Head) -> Iterator[Claim]:
    superblock, extended = head.super_block, head.extended
    yield Claim(SUPERBLOCK_OFFSET, SuperBlock.STRUCT.size, f"superblock {show_record(superblock)}")
    yield Claim(
        EXTENDED_SUPERBLOCK_OFFSET,
        ExtendedSuperBlock.STRUCT.size,
        f"extended superblock {show_record(extended)}",
    )
    for index in range(superblock.devices):
        at = DEVICE_TABLE_OFFSET + index * DEVICE_SLOT_SIZE
        slot = DeviceSlot.decode(bytes(view[at : at + DEVICE_SLOT_SIZE]))
        yield Claim(at, DEVICE_SLOT_SIZE, f"device {index} {show_record(slot)}")
    for index, blob in enumerate(head.blobs):
        at = extended.blob_table_offset + index * BLOB_RECORD_SIZE
        yield Claim(at, BLOB_RECORD_SIZE, f"blob {index} {show_record(blob)}")
    for at in range(
        extended.prefetch_table_offset,
        min(extended.prefetch_table_offset + extended.prefetch_table_size, len(view)),
        _PREFETCH_ENTRY_SIZE,
    ):
        nid = int.from_bytes(view[at : at + _PREFETCH_ENTRY_SIZE], "little")
        yield Claim(at, _PREFETCH_ENTRY_SIZE, f"prefetch nid={nid}")


def chunk_claims(view: memoryview, head: Head) -> Iterator[Claim]:
    """The rows of the chunk table."""
    at = head.extended.chunk_table_offset
    for text in show_chunks(read_chunk_table(view, head.extended, head.blobs)):
        yield Claim(at, CHUNK_RECORD.itemsize, text)
        at += CHUNK_RECORD.itemsize


def show_chunks(chunks: npt.NDArray[Any]) -> Iterator[str]:
    """The fields of rows of `layout.CHUNK_RECORD`."""
    names = CHUNK_RECORD.names or ()
    for start in range(0, len(chunks), _BATCH):
        # Python's own numbers are ten times faster to format than numpy's.
        for digest, *numbers, crc in chunks[start : start + _BATCH].tolist():
            fields_of = format_fields(**dict(zip(names[1:-1], numbers, strict=True)))
            yield f"chunk record digest={digest.hex()} {fields_of} crc32c={crc:08x}"
