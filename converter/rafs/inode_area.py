"""Where inodes and their data lie in a bootstrap that is read: every access is checked."""

from __future__ import annotations

import stat
from struct import Struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.layout import (
    BLOCK_SIZE,
    INODE,
    SLOT_SIZE,
    XATTR_ENTRY_SIZE,
    XATTR_HEADER_SIZE,
    InodeFormat,
)
from converter.rafs.listing import Int64s

_INODE_HEAD: Final = Struct("<HHH2xQI")  # format to i_u of layout.INODE

Inodes = npt.NDArray[Any]  # rows of layout.INODE


class InodeArea:
    """The metadata area of a bootstrap.

    Args:
        view: the whole file, a multiple of the block size long.
        start: where nid 0 would lie, inside the file.

    Raises:
        BootstrapError: from all methods: something lies outside the file or crosses a block that it must not.
    """

    def __init__(self, view: memoryview, start: int) -> None:
        self.view = view
        self._start = start

    def position(self, nid: int) -> int:
        """Byte position of the inode with this nid."""
        if nid >= len(self.view) // SLOT_SIZE:
            raise BootstrapError(f"an entry means the nid {nid}, which is outside the file")
        return self._start + nid * SLOT_SIZE

    def positions(self, nids: npt.NDArray[np.uint64]) -> Int64s:
        """Byte positions of the inodes with these nids."""
        if len(nids) and nids.max() >= len(self.view) // SLOT_SIZE:
            raise BootstrapError(f"an entry means the nid {nids.max()}, which is outside the file")
        return self._start + nids.astype(np.int64) * SLOT_SIZE

    def inodes(self, positions: Int64s) -> Inodes:
        """The inodes at these positions."""
        if len(positions) and positions.max() + INODE.itemsize > len(self.view):
            raise BootstrapError("an entry means an inode that goes on behind the end of the file")
        slots = np.frombuffer(self.view, np.uint8).reshape(-1, SLOT_SIZE)
        first = positions // SLOT_SIZE
        return np.concatenate((slots[first], slots[first + 1]), axis=1).view(INODE)[:, 0]

    def data(self, position: int, file_type: int) -> bytes:
        """The data of the directory or symlink at this position: blocks elsewhere, and a tail behind it.

        Args:
            position: of the inode.
            file_type: type bits that its mode must have.
        """
        if position + INODE.itemsize > len(self.view):
            raise BootstrapError("an entry means an inode that goes on behind the end of the file")
        # One inode at a time, this is ten times faster than through numpy.
        layout, icount, mode, size, i_u = _INODE_HEAD.unpack_from(self.view, position)
        if stat.S_IFMT(mode) != file_type or size > len(self.view):
            raise BootstrapError(f"the inode at {position} has the mode {mode:o} and {size} bytes of data")
        inline = layout == InodeFormat.FLAT_INLINE
        full = size - size % BLOCK_SIZE if inline else size
        start = i_u * BLOCK_SIZE if full else 0
        xattrs = XATTR_HEADER_SIZE + (icount - 1) * XATTR_ENTRY_SIZE if icount else 0
        tail = position + INODE.itemsize + xattrs
        end = tail + size - full
        if start + full > len(self.view) or end > len(self.view):
            raise BootstrapError(f"the data of the inode at {position} leave the file")
        if inline and position // BLOCK_SIZE != (end - 1) // BLOCK_SIZE:
            raise BootstrapError(f"the data behind the inode at {position} cross the end of a block")
        return bytes(self.view[start : start + full]) + bytes(self.view[tail:end])


def head_sizes(inodes: Inodes) -> Int64s:
    """Bytes of inodes with their xattrs."""
    icount = inodes["xattr_icount"].astype(np.int64)
    xattrs = XATTR_HEADER_SIZE + (icount - 1) * XATTR_ENTRY_SIZE
    return INODE.itemsize + np.where(icount == 0, 0, xattrs)
