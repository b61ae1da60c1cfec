"""The inodes of a RAFS v6 bootstrap, and what belongs to them, in words."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.inspection.lines import Claim, format_fields, format_line, show_name
from converter.rafs.directory_reader import DirectoryReader
from converter.rafs.head_reader import Head
from converter.rafs.inode_area import InodeArea, head_sizes
from converter.rafs.layout import BLOCK_SIZE, CHUNK_INDEX, DIRENT, INODE, InodeFormat
from converter.rafs.listing import Int64s
from converter.rafs.reader import read_bootstrap
from converter.rafs.xattrs import decode_xattrs

_DIRENT: Final = struct.Struct("<QHBB")
_INDEX: Final = struct.Struct("<HBBI")
_BATCH: Final = 1 << 14
_MODE: Final = (INODE.names or ()).index("mode")


class _Part(IntEnum):
    """What a claim is about."""

    INODE = 0
    XATTRS = 1
    CHUNK_INDEXES = 2
    FULL_BLOCKS = 3
    TAIL = 4


def tree_claims(view: memoryview, head: Head) -> Iterator[Claim]:
    """Everything that belongs to inodes, by offset.

    Args:
        view: the whole bootstrap.
        head: its head.

    Raises:
        BootstrapError: the tree breaks the format; nothing was given then.
    """
    read_bootstrap(view)
    area = InodeArea(view, head.metadata)
    directories = DirectoryReader(area, head.names)
    directories.read()
    nids = np.fromiter(directories.number, np.uint64, len(directories.number))
    names = _first_names(directories)
    positions = area.positions(nids)
    inodes = area.inodes(positions)
    parts = _parts(inodes, positions, head.extended.chunk_size)
    order = np.argsort(parts["offset"], kind="stable")
    for start in range(0, len(order), _BATCH):
        # Python's own numbers are ten times faster to format than numpy's.
        some = parts[order[start : start + _BATCH]]
        records = zip(some.tolist(), inodes[some["row"]].tolist(), nids[some["row"]].tolist(), strict=True)
        for (offset, size, part, row), inode, nid in records:
            owner = f"nid={nid} {show_name(names[row])}"
            yield _claim(view, offset, size, _Part(part), inode, owner)


def _first_names(directories: DirectoryReader) -> list[bytes]:
    """One name of each inode, without its path."""
    names = [b"/"] * len(directories.number)
    for children in directories.children.values():
        for name, number in children.items():
            names[number] = name
    return names


def _parts(inodes: npt.NDArray[Any], positions: Int64s, chunk_size: int) -> npt.NDArray[Any]:
    """What belongs to inodes: rows of offset, size, kind and row of the inode."""
    rows = np.arange(len(inodes))
    behind = positions + head_sizes(inodes)
    bits = inodes["mode"] >> 12
    regular = bits == stat.S_IFREG >> 12
    tailed = (bits == stat.S_IFDIR >> 12) | (bits == stat.S_IFLNK >> 12)
    size = inodes["size"].astype(np.int64)
    inline = tailed & (inodes["format"] == InodeFormat.FLAT_INLINE)
    tail = np.where(inline, size % BLOCK_SIZE, 0)
    indexes_at = (behind + CHUNK_INDEX.itemsize - 1) // CHUNK_INDEX.itemsize * CHUNK_INDEX.itemsize
    found = []
    for part, offset, length in (
        (_Part.INODE, positions, np.full(len(inodes), INODE.itemsize)),
        (_Part.XATTRS, positions + INODE.itemsize, behind - positions - INODE.itemsize),
        (
            _Part.CHUNK_INDEXES,
            indexes_at,
            np.where(regular, -(-size // chunk_size), 0) * CHUNK_INDEX.itemsize,
        ),
        (_Part.FULL_BLOCKS, inodes["i_u"].astype(np.int64) * BLOCK_SIZE, np.where(tailed, size - tail, 0)),
        (_Part.TAIL, behind, tail),
    ):
        wanted = length > 0
        table = np.zeros(int(wanted.sum()), [("offset", "i8"), ("size", "i8"), ("part", "i8"), ("row", "i8")])
        table["offset"], table["size"], table["part"], table["row"] = (
            offset[wanted], length[wanted], part, rows[wanted],
        )  # fmt: skip
        found.append(table)
    return np.concatenate(found)


def _claim(
    view: memoryview, offset: int, size: int, part: _Part, inode: tuple[Any, ...], owner: str
) -> Claim:
    data = view[offset : offset + size]
    if part is _Part.INODE:
        return Claim(offset, size, f"inode {owner} {_show_inode(inode)}")
    if part is _Part.XATTRS:
        pairs = decode_xattrs(bytes(data))
        shown = " ".join(f"{show_name(name)}={value.hex() or '(empty)'}" for name, value in pairs)
        return Claim(offset, size, f"xattrs of {owner}: {shown}")
    if part is _Part.CHUNK_INDEXES:
        return Claim(offset, size, f"chunk indexes of {owner}", _show_indexes(bytes(data), offset))
    if stat.S_ISLNK(inode[_MODE]):
        return Claim(offset, size, f"target of {owner}: {show_name(bytes(data))}")
    return Claim(offset, size, f"entries of {owner}", _show_entries(bytes(data), offset))


def _show_inode(inode: tuple[Any, ...]) -> str:
    layout, icount, mode, _, size, i_u, ino, uid, gid, mtime, nanoseconds, nlink, _ = inode
    return (
        f"mode={mode:o} format={InodeFormat(layout).name.lower()} xattr_icount={icount} size={size}"
        f" i_u={i_u:#x} ino={ino} uid={uid} gid={gid} mtime={mtime}.{nanoseconds:09} nlink={nlink}"
    )


def _show_indexes(data: bytes, offset: int) -> Iterator[str]:
    for at, (low, device, high, block) in enumerate(_INDEX.iter_unpack(data)):
        text = format_fields(blob=device - 1, chunk=high << 16 | low, block=f"{block:#x}")
        yield format_line(offset + at * _INDEX.size, _INDEX.size, f"  {text}")


def _show_entries(data: bytes, offset: int) -> Iterator[str]:
    """The entries of directory blocks, then their names, and what the last one leaves of a block."""
    for start in range(0, len(data), BLOCK_SIZE):
        block = data[start : start + BLOCK_SIZE]
        first = int.from_bytes(block[8:10], "little")
        entries = list(_DIRENT.iter_unpack(block[:first]))
        used = len(block.rstrip(b"\0"))
        ends = [entry[1] for entry in entries[1:]] + [used]
        for row, ((nid, name_at, kind, _), end) in enumerate(zip(entries, ends, strict=True)):
            text = format_fields(nid=nid, type=kind, name_at=name_at, name=show_name(block[name_at:end]))
            yield format_line(offset + start + row * DIRENT.itemsize, DIRENT.itemsize, f"  {text}")
        yield format_line(offset + start + first, used - first, "  names of these entries")
        if used < len(block):
            yield format_line(offset + start + used, len(block) - used, "  padding")
