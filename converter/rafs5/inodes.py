"""Writes the inodes of RAFS v5: for each name a record, the name, and what belongs to its type (§9.3)."""

from __future__ import annotations

import stat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.layout import CHUNK_RECORD
from converter.rafs.listing import Int64s
from converter.rafs.nodes import Nodes, column
from converter.rafs5.layout import ALIGNMENT, INODE, XATTR_HEAD_SIZE, XATTRS_HEAD_SIZE, InodeFlag
from converter.rafs5.names import Names
from converter.tree import FileTree

MAX_BOOTSTRAP_SIZE: Final = 1 << 31  # what nydusd maps at most (nydus-rafs 0.2.2, src/metadata/mod.rs)

_BATCH: Final = 1 << 16  # inodes that are made at a time, to bound what they take beside the output
_SIZE_UNIT: Final = 512  # of `blocks`
_DIRECTORY_UNIT: Final = 4096  # the size of a directory is a multiple of it
_DIRECTORY_ENTRY: Final = 8  # what each name counts beside its own bytes


class InodeWriter:
    """Places and writes the inodes of a tree.

    Args:
        tree: the tree.
        nodes: its inodes.
        names: its names.

    Attributes:
        offset: where each name's record begins, from the first one.
        size: bytes of all.
    """

    def __init__(self, tree: FileTree, nodes: Nodes, names: Names) -> None:
        self._tree = tree
        self._nodes = nodes
        self._names = names
        self._xattrs = {inode: encode_xattrs(tree.xattrs[inode]) for inode in nodes.xattrs}
        # What belongs to an inode, by its number in the tree, and then to each of its names.
        self._row = np.zeros(len(tree), np.int64)
        self._row[nodes.inode] = np.arange(len(nodes.inode))
        xattr_size = np.zeros(len(tree), np.int64)
        for inode, data in self._xattrs.items():
            xattr_size[inode] = len(data)
        self._xattr_size = xattr_size[names.inode]
        node = self._row[names.inode]
        self._node = node
        self._chunk_count = nodes.chunk_count[node].astype(np.int64)
        is_symlink = nodes.file_type[node] == stat.S_IFLNK >> 12
        self._symlink_size = np.where(is_symlink, nodes.data_size[node], 0)
        self._name_end = INODE.itemsize + _aligned(names.lengths)
        self._head_size = self._name_end + _aligned(self._symlink_size)
        sizes = self._head_size + self._xattr_size + self._chunk_count * CHUNK_RECORD.itemsize
        ends = np.cumsum(sizes)
        self.offset = ends - sizes
        self.size = int(ends[-1])
        if self.size > MAX_BOOTSTRAP_SIZE:
            raise LimitExceededError(f"the inodes take {self.size} bytes, too many for RAFS v5")

    def write(
        self, out: npt.NDArray[np.uint8], digests: npt.NDArray[np.void], chunks: npt.NDArray[Any]
    ) -> None:
        """Writes all inodes.

        Args:
            out: their place, zeroed.
            digests: of the tree's inodes.
            chunks: `CHUNK_RECORD` of every use of a chunk: files in the order of the nodes, each from its
                start.
        """
        words = out.view(np.uint64)
        width = INODE.itemsize // ALIGNMENT
        for start in range(0, len(self.offset), _BATCH):
            rows = slice(start, start + _BATCH)
            first = self.offset[rows] // ALIGNMENT
            words[first[:, None] + np.arange(width)] = (
                self._records(rows, digests).view(np.uint64).reshape(-1, width)
            )
        self._write_behind(out.data, memoryview(chunks.tobytes()))

    def _records(self, rows: slice, digests: npt.NDArray[np.void]) -> npt.NDArray[Any]:
        tree, nodes, names = self._tree, self._nodes, self._names
        inode, node = names.inode[rows], self._node[rows]
        bits = nodes.file_type[node]
        directory = bits == stat.S_IFDIR >> 12
        device = (bits == stat.S_IFCHR >> 12) | (bits == stat.S_IFBLK >> 12)
        size = np.where(bits == stat.S_IFREG >> 12, column(tree.size)[inode], self._symlink_size[rows])
        first_child, children, directory_size = self._directories()
        size = np.where(directory, directory_size[rows], size).astype(np.uint64)
        records = np.zeros(len(inode), INODE)
        records["digest"] = digests[inode]
        records["parent"] = names.parent[rows]
        records["ino"] = nodes.number[node]
        records["uid"] = column(tree.uid)[inode]
        records["gid"] = column(tree.gid)[inode]
        records["mode"] = column(tree.mode)[inode]
        records["size"] = size
        records["blocks"] = -(-(size.astype(np.int64) + self._xattr_size[rows]) // _SIZE_UNIT)
        records["flags"] = (
            np.where(bits == stat.S_IFLNK >> 12, InodeFlag.SYMLINK, 0)
            | np.where(~directory & (nodes.links[node] > 1), InodeFlag.HARDLINK, 0)
            | np.where(self._xattr_size[rows] > 0, InodeFlag.XATTR, 0)
        )
        records["nlink"] = nodes.links[node]
        records["child_index"] = first_child[rows]
        records["child_count"] = np.where(directory, children[rows], self._chunk_count[rows])
        records["name_size"] = names.lengths[rows]
        records["symlink_size"] = self._symlink_size[rows]
        records["rdev"] = np.where(device, column(tree.rdev)[inode], 0)
        records["mtime_nsec"] = column(tree.mtime_ns)[inode]
        records["mtime"] = column(tree.mtime_s)[inode]
        return records

    def _directories(self) -> tuple[Int64s, Int64s, Int64s]:
        """By row: index of a directory's first child, its children, its size; zeros for everything else."""
        names = self._names
        first_child, children, size = (np.zeros(len(names.inode), np.int64) for _ in range(3))
        rows = names.directories
        children[rows] = names.children
        first_child[rows] = np.where(names.children > 0, names.first_child, 0)
        begin = names.first_child - 1
        text = names.start[begin + names.children] - names.start[begin]
        used = text + names.children * _DIRECTORY_ENTRY
        size[rows] = np.maximum(-(-used // _DIRECTORY_UNIT), 1) * _DIRECTORY_UNIT
        return first_child, children, size

    def _write_behind(self, out: memoryview, chunks: memoryview) -> None:
        """Writes what follows the records: names, targets, xattrs, chunks."""
        names, tree = self._names, self._tree
        text = memoryview(names.text)
        starts, offsets = names.start.tolist(), self.offset.tolist()
        for row, offset in enumerate(offsets):
            name = text[starts[row] : starts[row + 1]]
            at = offset + INODE.itemsize
            out[at : at + len(name)] = name
        for row in np.flatnonzero(self._symlink_size).tolist():
            target = tree.symlink_target[int(names.inode[row])]
            at = offsets[row] + int(self._name_end[row])
            out[at : at + len(target)] = target
        for row in np.flatnonzero(self._xattr_size).tolist():
            xattrs = self._xattrs[int(names.inode[row])]
            at = offsets[row] + int(self._head_size[row])
            out[at : at + len(xattrs)] = xattrs
        ends = np.cumsum(self._nodes.chunk_count, dtype=np.int64) * CHUNK_RECORD.itemsize
        for row in np.flatnonzero(self._chunk_count).tolist():
            size = int(self._chunk_count[row]) * CHUNK_RECORD.itemsize
            end = int(ends[self._node[row]])
            at = offsets[row] + int(self._head_size[row] + self._xattr_size[row])
            out[at : at + size] = chunks[end - size : end]


def encode_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The xattrs behind an inode: bytes of all pairs; and each pair with its length, name, NUL and value."""
    pairs = b"".join(
        (len(name) + 1 + len(value)).to_bytes(XATTR_HEAD_SIZE, "little") + name + b"\0" + value
        for name, value in xattrs
    )
    data = len(pairs).to_bytes(XATTRS_HEAD_SIZE, "little") + pairs
    return data + bytes(-len(data) % ALIGNMENT)


def _aligned(sizes: Int64s) -> Int64s:
    return (sizes + ALIGNMENT - 1) & -ALIGNMENT
