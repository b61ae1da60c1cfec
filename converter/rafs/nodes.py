"""The inodes of a tree in the order in which RAFS places them, as columns ready to be written."""

from __future__ import annotations

import stat
from array import array
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.layout import BLOCK_SIZE, INODE, MAX_INODE_NUMBER, MAX_SYMLINK_LENGTH
from converter.rafs.listing import Int64s, Listing
from converter.rafs.placement import Shape
from converter.rafs.xattrs import encode_xattrs
from converter.tree import FileTree

CHUNK_INDEX_ALIGNMENT: Final = 8
_TYPECODES: Final = {"H": np.uint16, "I": np.uint32, "q": np.int64, "Q": np.uint64}


@dataclass(frozen=True, slots=True)
class Nodes:
    """One row for each inode that has a name, in placement order.

    Attributes:
        inode: its number in the tree.
        file_type: upper four bits of its mode.
        shape: the `Shape` of its data.
        number: sequence number of its first name, the root being 1.
        links: names; of a directory 2 and its subdirectories.
        xattrs: encoded xattrs by number in the tree, where there are any.
        xattr_size: bytes of its xattrs.
        chunk_count: chunks of a regular file.
        data_size: bytes of a directory's entries or of a symlink's target.
    """

    inode: npt.NDArray[np.uint32]
    file_type: npt.NDArray[np.uint8]
    shape: npt.NDArray[np.uint8]
    number: npt.NDArray[np.uint32]
    links: npt.NDArray[np.uint32]
    xattrs: dict[int, bytes]
    xattr_size: npt.NDArray[np.uint32]
    chunk_count: npt.NDArray[np.uint32]
    data_size: Int64s

    def head_sizes(self) -> Int64s:
        """Bytes of each inode with xattrs, and of a regular file with its chunk indexes."""
        head = self.xattr_size.astype(np.int64) + INODE.itemsize
        aligned = (head + CHUNK_INDEX_ALIGNMENT - 1) & -CHUNK_INDEX_ALIGNMENT
        return np.where(self.shape == Shape.CHUNKED, aligned + CHUNK_INDEX_ALIGNMENT * self.chunk_count, head)


def column(values: array[int]) -> npt.NDArray[Any]:
    """A copy-free view of a tree's column; drop it before the tree grows."""
    return np.frombuffer(values, _TYPECODES[values.typecode])


def order_nodes(tree: FileTree, listing: Listing, directory_sizes: Int64s, chunk_size: int) -> Nodes:
    """Puts the inodes of a listing into placement order: each directory, then its other entries (§3.9).

    Raises:
        LimitExceededError: too many inodes, or a symlink or xattr that is too long.
        ValueError: a regular file has more or fewer chunks than its size asks for.
    """
    inode, number, links = _count_names(tree, listing)
    data_size = np.zeros(len(tree), np.int64)
    data_size[listing.directories] = directory_sizes
    for symlink, target in tree.symlink_target.items():
        data_size[symlink] = len(target)
    xattrs = {inode: encode_xattrs(pairs) for inode, pairs in tree.xattrs.items() if number[inode]}
    xattr_size = np.zeros(len(tree), np.uint32)
    for owner, data in xattrs.items():
        xattr_size[owner] = len(data)
    file_type = (column(tree.mode)[inode] >> 12).astype(np.uint8)
    nodes = Nodes(
        inode=inode,
        file_type=file_type,
        shape=_shapes(file_type, xattr_size[inode], data_size[inode]),
        number=number[inode],
        links=links[inode],
        xattrs=xattrs,
        xattr_size=xattr_size[inode],
        chunk_count=column(tree.chunk_count)[inode],
        data_size=data_size[inode],
    )
    _check_symlinks(tree, nodes)
    _check_chunks(tree, nodes, chunk_size)
    return nodes


def _count_names(
    tree: FileTree, listing: Listing
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The named inodes in placement order; and by inode of the tree, sequence numbers and link counts."""
    named = np.flatnonzero(~listing.entry_is_dot)
    if len(named) >= MAX_INODE_NUMBER:
        raise LimitExceededError(f"{len(named)} files are more than RAFS can number")
    inodes, first_name, names = np.unique(listing.entry_inode[named], return_index=True, return_counts=True)
    number = np.zeros(len(tree), np.uint32)
    number[inodes] = first_name + 2
    number[tree.ROOT] = 1
    links = np.zeros(len(tree), np.uint32)
    links[inodes] = names
    links[listing.directories] = 2 + _subdirectories(tree, listing)
    is_file = column(tree.mode)[inodes] >> 12 != stat.S_IFDIR >> 12
    rows = np.sort(named[first_name[is_file]])
    before = np.searchsorted(rows, listing.first_entry[:-1])
    return np.insert(listing.entry_inode[rows], before, listing.directories), number, links


def _shapes(
    file_type: npt.NDArray[np.uint8], xattr_size: npt.NDArray[np.uint32], data_size: Int64s
) -> npt.NDArray[np.uint8]:
    """The shapes of inodes: a tail is inlined if it fits into a block with the inode and its xattrs."""
    tail = data_size % BLOCK_SIZE
    inline = (tail != 0) & (INODE.itemsize + xattr_size + tail <= BLOCK_SIZE)
    regular = file_type == stat.S_IFREG >> 12
    tailed = (file_type == stat.S_IFDIR >> 12) | (file_type == stat.S_IFLNK >> 12)
    shape = np.full(len(file_type), Shape.BARE, np.uint8)
    shape[tailed] = Shape.PLAIN
    shape[tailed & inline] = Shape.INLINE
    shape[regular] = Shape.CHUNKED
    return shape


def _subdirectories(tree: FileTree, listing: Listing) -> Int64s:
    entry_type = column(tree.mode)[listing.entry_inode] >> 12
    is_subdirectory = (entry_type == stat.S_IFDIR >> 12) & ~listing.entry_is_dot
    return np.add.reduceat(is_subdirectory.astype(np.int64), listing.first_entry[:-1])


def _check_symlinks(tree: FileTree, nodes: Nodes) -> None:
    wrong = (nodes.data_size == 0) | (nodes.data_size > MAX_SYMLINK_LENGTH)
    for inode in nodes.inode[wrong & (nodes.file_type == stat.S_IFLNK >> 12)].tolist():
        target = tree.symlink_target.get(inode, b"")
        raise LimitExceededError(
            f"a symlink's target has {len(target)} bytes, not 1 to {MAX_SYMLINK_LENGTH}: {target[:80]!r}"
        )


def _check_chunks(tree: FileTree, nodes: Nodes, chunk_size: int) -> None:
    size = column(tree.size)[nodes.inode].astype(np.int64)
    wanted = np.where(nodes.shape == Shape.CHUNKED, -(-size // chunk_size), 0)
    for row in np.flatnonzero(wanted != nodes.chunk_count).tolist():
        raise ValueError(f"inode {nodes.inode[row]} of {size[row]} bytes has {nodes.chunk_count[row]} chunks")
