"""Writes inodes and what follows them into the metadata area of a bootstrap."""

from __future__ import annotations

import stat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.rafs.layout import (
    BLOCK_SIZE,
    CHUNK_INDEX,
    DIRENT,
    FILE_TYPE,
    INODE,
    SLOT_SIZE,
    InodeFormat,
)
from converter.rafs.listing import DirectoryBlocks, Int64s, Listing
from converter.rafs.nodes import Nodes, column
from converter.rafs.placement import Placement, Shape
from converter.rafs.xattrs import xattr_icounts
from converter.tree import FileTree

_BATCH: Final = 1 << 16  # inodes that are made at a time, to bound what they take beside the output


class InodeWriter:
    """Writes the inodes of a tree.

    Args:
        metadata: the metadata area, zeroed; position 0 is nid 0.
        offset: where it lies in the bootstrap, a multiple of the block size.
        tree: the tree.
        nodes: its inodes in placement order.
        placement: where they go, row by row.
    """

    def __init__(
        self, metadata: npt.NDArray[np.uint8], offset: int, tree: FileTree, nodes: Nodes, placement: Placement
    ) -> None:
        self._metadata = metadata
        self._bytes = metadata.data
        self._offset = offset
        self._tree = tree
        self._nodes = nodes
        self._position = column(placement.inodes)
        self._data = column(placement.data)
        self._head = nodes.xattr_size + INODE.itemsize
        self._inline = nodes.shape == Shape.INLINE

    def write_inodes(self, chunk_formats: npt.NDArray[np.uint32]) -> None:
        """Writes the fixed part of all inodes, and their xattrs."""
        slots = self._metadata.reshape(-1, SLOT_SIZE)
        for start in range(0, len(self._position), _BATCH):
            rows = slice(start, start + _BATCH)
            halves = self._records(rows, chunk_formats[rows]).view(np.uint8).reshape(-1, 2, SLOT_SIZE)
            first_slot = self._position[rows] // SLOT_SIZE
            slots[first_slot] = halves[:, 0]
            slots[first_slot + 1] = halves[:, 1]
        for row in np.flatnonzero(self._nodes.xattr_size).tolist():
            xattrs = self._nodes.xattrs[int(self._nodes.inode[row])]
            self._write(int(self._position[row]) + INODE.itemsize, xattrs)

    def write_chunk_indexes(
        self, node: npt.NDArray[np.uint32], position: npt.NDArray[np.uint32], entries: npt.NDArray[Any]
    ) -> None:
        """Writes the chunk indexes behind regular files.

        Args:
            node: for each use of a chunk, the row of the file.
            position: for each use, which chunk of the file it is.
            entries: rows of `layout.CHUNK_INDEX`, likewise.
        """
        unit = CHUNK_INDEX.itemsize
        first = (self._position + self._head + unit - 1) // unit
        self._metadata.view(CHUNK_INDEX)[first[node] + position] = entries

    def write_symlinks(self) -> None:
        """Writes the targets of symlinks."""
        for row in np.flatnonzero(self._nodes.file_type == stat.S_IFLNK >> 12).tolist():
            target = self._tree.symlink_target[int(self._nodes.inode[row])]
            tail = len(target) % BLOCK_SIZE if self._inline[row] else 0
            full = len(target) - tail
            self._write(int(self._data[row]), target[:full])
            self._write(int(self._position[row] + self._head[row]), target[full:])

    def write_directories(self, listing: Listing, blocks: DirectoryBlocks) -> None:
        """Writes the entries and names of all directories."""
        name = listing.name_starts()
        dirents = self._dirents(listing, blocks, name).view(np.uint8).data
        names = memoryview(listing.names)
        rows = (blocks.first_entry * DIRENT.itemsize).tolist()
        starts = name[blocks.first_entry].tolist()
        for block, position in enumerate(self._block_positions(blocks).tolist()):
            entries = dirents[rows[block] : rows[block + 1]]
            self._write(position, entries)
            self._write(position + len(entries), names[starts[block] : starts[block + 1]])

    def _write(self, position: int, data: bytes | memoryview) -> None:
        self._bytes[position : position + len(data)] = data

    def _records(self, rows: slice, chunk_formats: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
        tree, nodes = self._tree, self._nodes
        inode, file_type, shape = nodes.inode[rows], nodes.file_type[rows], nodes.shape[rows]
        regular = shape == Shape.CHUNKED
        records = np.zeros(len(inode), INODE)
        records["format"] = InodeFormat.FLAT_PLAIN
        records["format"][self._inline[rows]] = InodeFormat.FLAT_INLINE
        records["format"][regular] = InodeFormat.CHUNK_BASED
        records["xattr_icount"] = xattr_icounts(nodes.xattr_size[rows])
        records["mode"] = column(tree.mode)[inode]
        records["size"] = np.where(regular, column(tree.size)[inode], nodes.data_size[rows])
        device = (file_type == stat.S_IFCHR >> 12) | (file_type == stat.S_IFBLK >> 12)
        data_block = (self._offset + self._data[rows]) // BLOCK_SIZE
        records["i_u"] = np.select(
            [regular, device, shape != Shape.BARE],
            [chunk_formats, column(tree.rdev)[inode], data_block],
        )
        records["ino"] = nodes.number[rows]
        records["uid"] = column(tree.uid)[inode]
        records["gid"] = column(tree.gid)[inode]
        records["mtime"] = column(tree.mtime_s)[inode]
        records["mtime_nsec"] = column(tree.mtime_ns)[inode]
        records["nlink"] = nodes.links[rows]
        return records

    def _dirents(self, listing: Listing, blocks: DirectoryBlocks, name: Int64s) -> npt.NDArray[Any]:
        """The entries of all directories, in the order of the listing."""
        nid = np.zeros(len(self._tree), np.uint64)
        nid[self._nodes.inode] = self._position // SLOT_SIZE
        entries = np.diff(blocks.first_entry)
        start = entries * DIRENT.itemsize - name[blocks.first_entry[:-1]]
        file_type = np.zeros(16, np.uint8)
        file_type[list(FILE_TYPE)] = list(FILE_TYPE.values())
        dirents = np.zeros(len(listing.entry_inode), DIRENT)
        dirents["nid"] = nid[listing.entry_inode]
        dirents["name_offset"] = name[:-1] + np.repeat(start, entries)
        dirents["file_type"] = file_type[column(self._tree.mode)[listing.entry_inode] >> 12]
        return dirents

    def _block_positions(self, blocks: DirectoryBlocks) -> Int64s:
        """Where each directory block goes: full ones to the data, the last one perhaps behind the inode."""
        directory = np.flatnonzero(self._nodes.file_type == stat.S_IFDIR >> 12)
        counts = np.diff(blocks.first_block)
        within = np.arange(len(blocks.used)) - np.repeat(blocks.first_block[:-1], counts)
        position = np.repeat(self._data[directory], counts) + within * BLOCK_SIZE
        last = blocks.first_block[1:] - 1
        behind = self._position[directory] + self._head[directory]
        position[last] = np.where(self._inline[directory], behind, position[last])
        return position
