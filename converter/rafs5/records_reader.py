"""Reads the inodes of a RAFS v5 bootstrap and what follows each of them (§9.3)."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.layout import CHUNK_RECORD, MAX_NAME_LENGTH, MAX_SYMLINK_LENGTH
from converter.rafs.listing import Int64s
from converter.rafs5.layout import (
    ALIGNMENT,
    INODE,
    XATTR_HEAD_SIZE,
    XATTRS_HEAD_SIZE,
    InodeFlag,
)

Xattrs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Records:
    """The inode records of a bootstrap in the order of the inode table, one for each name and for the root.

    They do not overlap, and lie inside the file with all that follows them.

    Args:
        inodes: rows of `layout.INODE`.
        names: of each.
        targets: of symlinks, by row.
        xattrs: sorted by name, by row, where there are any.
        xattr_sizes: bytes that they take, by row, without padding.
        chunk_counts: of each row; 0 but for regular files.
        chunks: chunk records of all rows together, `rafs.layout.CHUNK_RECORD`.
    """

    inodes: npt.NDArray[Any]
    names: list[bytes]
    targets: dict[int, bytes]
    xattrs: dict[int, Xattrs]
    xattr_sizes: dict[int, int]
    chunk_counts: Int64s
    chunks: npt.NDArray[Any]


def read_records(view: memoryview, positions: Int64s) -> Records:
    """Reads all inode records.

    Args:
        view: the whole bootstrap, a multiple of 8 bytes.
        positions: of the inodes; each has room for its fixed part.

    Raises:
        BootstrapError: records overlap, leave the file, or have fields that cannot be.
    """
    words = np.frombuffer(view, "<u8")
    inodes = _gather(words, positions, INODE)
    _check_inodes(inodes)
    name_at = positions + INODE.itemsize
    target_at = name_at + _padded(inodes["name_size"])
    xattrs_at = target_at + _padded(inodes["symlink_size"])
    has_xattrs = inodes["flags"] & np.uint64(InodeFlag.XATTR) != 0
    if xattrs_at.max() > len(view) or (has_xattrs & (xattrs_at + XATTRS_HEAD_SIZE > len(view))).any():
        raise BootstrapError("an inode goes on behind the end of the file")
    sizes = np.zeros(len(inodes), np.uint64)
    sizes[has_xattrs] = words[xattrs_at[has_xattrs] // ALIGNMENT]
    if sizes.max() > len(view):
        raise BootstrapError(f"an inode has {sizes.max()} bytes of extended attributes")
    xattr_sizes = sizes.astype(np.int64)
    chunks_at = xattrs_at + np.where(has_xattrs, XATTRS_HEAD_SIZE + _padded(xattr_sizes), 0)
    regular = inodes["mode"] >> 12 == stat.S_IFREG >> 12
    counts = np.where(regular, inodes["child_count"], 0).astype(np.int64)
    _check_room(positions, chunks_at + counts * CHUNK_RECORD.itemsize, len(view))
    _check_blocks(inodes, _padded(xattr_sizes))
    data = bytes(view)
    names = [
        data[at : at + size] for at, size in zip(name_at.tolist(), inodes["name_size"].tolist(), strict=True)
    ]
    symlinks = np.flatnonzero(inodes["symlink_size"])
    targets = {
        row: data[at : at + int(inodes["symlink_size"][row])]
        for row, at in zip(symlinks.tolist(), target_at[symlinks].tolist(), strict=True)
    }
    pairs, pair_sizes = {}, {}
    for row in np.flatnonzero(has_xattrs).tolist():
        at = int(xattrs_at[row]) + XATTRS_HEAD_SIZE
        pair_sizes[row] = int(xattr_sizes[row])
        pairs[row] = _decode_xattrs(data[at : at + pair_sizes[row]])
    row_of = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row_of)) - (np.cumsum(counts) - counts)[row_of]
    chunks = _gather(words, chunks_at[row_of] + within * CHUNK_RECORD.itemsize, CHUNK_RECORD)
    return Records(inodes, names, targets, pairs, pair_sizes, counts, chunks)


def _gather(words: npt.NDArray[np.uint64], positions: Int64s, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The records at these positions, which are multiples of 8 and have room for them."""
    width = dtype.itemsize // ALIGNMENT
    index = (positions // ALIGNMENT)[:, None] + np.arange(width)
    return np.ascontiguousarray(words[index]).view(dtype).reshape(-1)


def _padded(sizes: npt.NDArray[Any]) -> Int64s:
    return (sizes.astype(np.int64) + (ALIGNMENT - 1)) & -ALIGNMENT


def _check_inodes(inodes: npt.NDArray[Any]) -> None:
    """Checks the fields of inodes that need nothing else to be checked."""
    bits = inodes["mode"] >> 12
    directory, symlink, regular = (bits == kind >> 12 for kind in (stat.S_IFDIR, stat.S_IFLNK, stat.S_IFREG))
    special = np.isin(
        bits, [kind >> 12 for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)]
    )
    flags = inodes["flags"]
    known = InodeFlag.SYMLINK | InodeFlag.HARDLINK | InodeFlag.XATTR
    wrong = (
        ~(directory | symlink | regular | special)
        | (flags & ~np.uint64(known) != 0)
        | ((flags & np.uint64(InodeFlag.SYMLINK) != 0) != symlink)
        | ((inodes["symlink_size"] != 0) != symlink)
        | (inodes["symlink_size"] > MAX_SYMLINK_LENGTH)
        | (symlink & (inodes["size"] != inodes["symlink_size"]))
        | (special & (inodes["size"] != 0))
        | (~(directory | regular) & (inodes["child_count"] != 0))
        | (inodes["name_size"] == 0)
        | (inodes["name_size"] > MAX_NAME_LENGTH)
        | (inodes["mtime_nsec"] >= 10**9)
        | (inodes["project"] != 0)
        | (inodes["reserved"] != 0)
    )
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BootstrapError(f"inode {row + 1} has fields that cannot be: {inodes[row]}")


def _check_room(starts: Int64s, ends: Int64s, size: int) -> None:
    order = np.argsort(starts)
    following = np.append(starts[order][1:], size)
    if (ends[order] > following).any():
        raise BootstrapError("inodes overlap, or go on behind the end of the file")


def _check_blocks(inodes: npt.NDArray[Any], xattrs: Int64s) -> None:
    size = inodes["size"] + xattrs.astype(np.uint64)
    if (inodes["blocks"] != (size + np.uint64(511)) // np.uint64(512)).any():
        raise BootstrapError("an inode has another number of blocks than its size asks for")


def _decode_xattrs(data: bytes) -> Xattrs:
    xattrs = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + XATTR_HEAD_SIZE], "little")
        at += XATTR_HEAD_SIZE
        name, nul, value = data[at : at + size].partition(b"\0")
        at += size
        if at > len(data) or not nul or not name:
            raise BootstrapError("an extended attribute has no name, or leaves the others")
        xattrs.append((name, value))
    xattrs.sort()
    if len(dict(xattrs)) != len(xattrs):
        raise BootstrapError("an inode has an extended attribute twice")
    return tuple(xattrs)
