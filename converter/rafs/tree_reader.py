"""Reads the tree of a bootstrap: directories from the root, then all inodes that they name at once."""

from __future__ import annotations

import stat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.chunk_reader import read_chunks
from converter.rafs.directory_reader import DirectoryReader
from converter.rafs.inode_area import InodeArea, Inodes, head_sizes
from converter.rafs.layout import FILE_TYPE, INODE, MAX_SYMLINK_LENGTH, InodeFormat
from converter.rafs.listing import Int64s
from converter.rafs.xattrs import decode_xattrs
from converter.tree import FileTree

_ENTRY_TYPES: Final = tuple(FILE_TYPE.get(bits, 0) for bits in range(16))


def read_tree(
    area: InodeArea, names: int, chunks: npt.NDArray[Any], chunk_size: int
) -> tuple[FileTree, dict[int, int]]:
    """Reads all files of a bootstrap.

    Args:
        area: its metadata area.
        names: how many names its superblock promises.
        chunks: its chunk table, checked.
        chunk_size: of its blobs.

    Returns:
        The tree, and the number in it of each inode by its nid.

    Raises:
        BootstrapError: the tree breaks the format.
    """
    directories = DirectoryReader(area, names)
    directories.read()
    nids = np.fromiter(directories.number, np.uint64, len(directories.number))
    positions = area.positions(nids)
    inodes = area.inodes(positions)
    _check_inodes(inodes, directories)
    behind = positions + head_sizes(inodes)
    if behind.max() > len(area.view):
        raise BootstrapError("extended attributes go on behind the end of the file")
    _check_room(inodes, behind - positions, len(area.view))
    tree = FileTree.from_columns(_columns(inodes), directories.children)
    read_chunks(area.view, tree, inodes, behind, chunks, chunk_size)
    _read_symlinks(area, tree, inodes, positions)
    _read_xattrs(area, tree, positions, behind)
    return tree, directories.number


def _check_inodes(inodes: Inodes, directories: DirectoryReader) -> None:
    """Checks inodes against each other and against the entries that mean them."""
    bits = inodes["mode"] >> 12
    regular = bits == stat.S_IFREG >> 12
    tailed = (bits == stat.S_IFDIR >> 12) | (bits == stat.S_IFLNK >> 12)
    # nydus-image merges a symlink, device or FIFO of several names into inodes of their own, each with the
    # count that they had together.
    split = ~regular & (bits != stat.S_IFDIR >> 12)
    names = np.frombuffer(directories.links, np.uint32)
    inline = tailed & (inodes["format"] == InodeFormat.FLAT_INLINE)
    formats = np.where(inline, InodeFormat.FLAT_INLINE, InodeFormat.FLAT_PLAIN)
    wrong = (
        (np.array(_ENTRY_TYPES)[bits] != np.frombuffer(directories.types, np.uint8))
        | np.where(split, inodes["nlink"] < names, inodes["nlink"] != names)
        | (inodes["format"] != np.where(regular, InodeFormat.CHUNK_BASED, formats))
        | (~regular & ~tailed & (inodes["size"] != 0))
        | (inodes["mtime_nsec"] >= 10**9)
    )
    if wrong.any():
        raise BootstrapError(f"an inode contradicts its names, or itself: {inodes[wrong][0]}")


def _check_room(inodes: Inodes, heads: Int64s, size: int) -> None:
    """Checks that what is copied out of the file is not more than the file.

    Sound inodes do not overlap, and no two symlinks share a target. Others could ask for thousands of times
    the memory of the file.
    """
    is_symlink = inodes["mode"] >> 12 == stat.S_IFLNK >> 12
    targets = np.minimum(inodes["size"][is_symlink], np.uint64(MAX_SYMLINK_LENGTH + 1))
    if heads.sum() > size or targets.sum() > size:
        raise BootstrapError("inodes or targets of symlinks are more than the file, so they overlap")


def _columns(inodes: Inodes) -> dict[str, npt.NDArray[Any]]:
    """The columns of a tree, but for those that concern chunks."""
    bits = inodes["mode"] >> 12
    device = (bits == stat.S_IFCHR >> 12) | (bits == stat.S_IFBLK >> 12)
    return {
        "mode": inodes["mode"],
        "uid": inodes["uid"],
        "gid": inodes["gid"],
        "mtime_s": inodes["mtime"],
        "mtime_ns": inodes["mtime_nsec"],
        "size": np.where(bits == stat.S_IFDIR >> 12, 0, inodes["size"]),
        "rdev": np.where(device, inodes["i_u"], 0),
    }


def _read_symlinks(area: InodeArea, tree: FileTree, inodes: Inodes, positions: Int64s) -> None:
    for row in np.flatnonzero(inodes["mode"] >> 12 == stat.S_IFLNK >> 12).tolist():
        if not 0 < inodes["size"][row] <= MAX_SYMLINK_LENGTH:
            raise BootstrapError(f"a symlink has a target of {inodes['size'][row]} bytes")
        target = area.data(int(positions[row]), stat.S_IFLNK)
        if b"\0" in target:
            raise BootstrapError("the target of a symlink has a NUL byte")
        tree.symlink_target[row] = target


def _read_xattrs(area: InodeArea, tree: FileTree, positions: Int64s, behind: Int64s) -> None:
    start = positions + INODE.itemsize
    for row in np.flatnonzero(behind > start).tolist():
        try:
            tree.xattrs[row] = decode_xattrs(bytes(area.view[int(start[row]) : int(behind[row])]))
        except ValueError as error:
            raise BootstrapError(f"the inode at {positions[row]}: {error}") from error
