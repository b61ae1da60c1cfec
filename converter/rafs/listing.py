"""The names of a tree in the order of RAFS, and how they fall into directory blocks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.layout import BLOCK_SIZE, DIRENT, MAX_NAME_LENGTH
from converter.tree import FileTree

_DOT: Final = b"."
_DOT_DOT: Final = b".."

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Listing:
    """All directories, each with its entries sorted by the bytes of their names, `.` and `..` among them.

    The directories come in the order in which RAFS visits them: all entries of one, then each subdirectory in
    turn, depth first (§3.9).

    Attributes:
        directories: inode of each directory.
        first_entry: row of each directory's first entry; one more at the end, so n + 1 rows.
        entry_inode: the inode that each entry means.
        entry_length: bytes of each entry's name.
        entry_is_dot: whether the entry is `.` or `..`.
        names: the names of all entries, joined.
    """

    directories: npt.NDArray[np.uint32]
    first_entry: Int64s
    entry_inode: npt.NDArray[np.uint32]
    entry_length: npt.NDArray[np.uint8]
    entry_is_dot: npt.NDArray[np.bool_]
    names: bytearray

    def name_starts(self) -> Int64s:
        """Where each name begins in `names`; one more at the end."""
        starts = np.zeros(len(self.entry_length) + 1, np.int64)
        np.cumsum(self.entry_length, dtype=np.int64, out=starts[1:])
        return starts


@dataclass(frozen=True, slots=True)
class DirectoryBlocks:
    """How entries fill the blocks of their directories: as many as fit into each (§3.7, "Directories").

    Attributes:
        first_entry: row of each block's first entry; one more at the end.
        first_block: row of each directory's first block; one more at the end.
        used: bytes used in each block.
        size: bytes of each directory: full blocks and what the last one uses.
    """

    first_entry: Int64s
    first_block: Int64s
    used: Int64s
    size: Int64s


def list_names(tree: FileTree) -> Listing:
    """Lists a tree from its root.

    Raises:
        LimitExceededError: a name longer than 255 bytes.
    """
    directories, first_entry = array("I"), array("q")
    entry_inode, entry_length = array("I"), array("B")
    names, dots = bytearray(), array("q")
    stack = [(tree.ROOT, tree.ROOT)]
    while stack:
        directory, parent = stack.pop()
        meaning = {**tree.children(directory), _DOT: directory, _DOT_DOT: parent}
        ordered = sorted(meaning)
        dot = len(entry_inode) + ordered.index(_DOT)
        dots.extend((dot, len(entry_inode) + ordered.index(_DOT_DOT, dot - len(entry_inode))))
        directories.append(directory)
        first_entry.append(len(entry_inode))
        inodes = [meaning[name] for name in ordered]
        entry_inode.extend(inodes)
        try:
            entry_length.extend(map(len, ordered))
        except OverflowError:
            longest = max(ordered, key=len)
            raise LimitExceededError(
                f"the name {longest[:80]!r}… has {len(longest)} bytes; RAFS allows {MAX_NAME_LENGTH}"
            ) from None
        names += b"".join(ordered)
        below = [inode for inode in inodes if tree.is_directory(inode) and inode not in (directory, parent)]
        stack.extend((inode, directory) for inode in reversed(below))
    first_entry.append(len(entry_inode))
    is_dot = np.zeros(len(entry_inode), np.bool_)
    is_dot[np.frombuffer(dots, np.int64)] = True
    return Listing(
        directories=np.frombuffer(directories, np.uint32),
        first_entry=np.frombuffer(first_entry, np.int64),
        entry_inode=np.frombuffer(entry_inode, np.uint32),
        entry_length=np.frombuffer(entry_length, np.uint8),
        entry_is_dot=is_dot,
        names=names,
    )


def fill_blocks(listing: Listing) -> DirectoryBlocks:
    """Cuts the entries of each directory into blocks."""
    taken = listing.name_starts()  # and soon: bytes that all entries before a row take
    taken += np.arange(0, len(taken) * DIRENT.itemsize, DIRENT.itemsize)
    totals = np.diff(taken[listing.first_entry])
    first_entry, first_block = array("q"), array("q")
    # Nearly every directory fits into one block, so the others are the exceptions between slices of those.
    done = 0
    for directory in np.flatnonzero(totals > BLOCK_SIZE).tolist():
        _append_single_blocks(listing, done, directory, first_entry, first_block)
        first_block.append(len(first_entry))
        row, end = listing.first_entry[directory : directory + 2].tolist()
        while row < end:
            first_entry.append(row)
            row = min(end, int(np.searchsorted(taken, taken[row] + BLOCK_SIZE, side="right")) - 1)
        done = directory + 1
    _append_single_blocks(listing, done, len(totals), first_entry, first_block)
    first_entry.append(len(listing.entry_length))
    first_block.append(len(first_entry) - 1)
    blocks = np.frombuffer(first_block, np.int64)
    rows = np.frombuffer(first_entry, np.int64)
    used = np.diff(taken[rows])
    return DirectoryBlocks(
        first_entry=rows,
        first_block=blocks,
        used=used,
        size=(np.diff(blocks) - 1) * BLOCK_SIZE + used[blocks[1:] - 1],
    )


def _append_single_blocks(
    listing: Listing, start: int, end: int, first_entry: array[int], first_block: array[int]
) -> None:
    """Adds the directories from `start` to `end`, which have one block each."""
    first_block.extend(range(len(first_entry), len(first_entry) + end - start))
    first_entry.frombytes(listing.first_entry[start:end].tobytes())
