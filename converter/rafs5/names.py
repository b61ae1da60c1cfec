"""The names of a tree as RAFS v5 numbers them: a row, and later a record, for each (§9.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converter.rafs.listing import Int64s, Listing
from converter.rafs5.layout import ROOT_INO, ROOT_NAME
from converter.tree import FileTree


@dataclass(frozen=True, slots=True)
class Names:
    """One row for each name, the root first. A name's index is its row and 1.

    The names of a directory follow each other, sorted by their bytes, so a directory says where they begin
    and how many they are.

    Attributes:
        inode: what each name means, as a number of the tree.
        parent: index of the directory that has it; 0 for the root.
        start: where each name begins in `text`; one more at the end.
        text: all names, joined.
        directories: rows of the directories, in the order of the listing, which has each before those in it.
        first_child: index of the first name in each of them.
        children: how many names each of them has.
    """

    inode: npt.NDArray[np.uint32]
    parent: npt.NDArray[np.uint64]
    start: Int64s
    text: bytes
    directories: Int64s
    first_child: Int64s
    children: Int64s

    @property
    def lengths(self) -> Int64s:
        """Bytes of each name."""
        return np.diff(self.start)


def number_names(tree: FileTree, listing: Listing) -> Names:
    """Numbers the names of a listing."""
    named = np.flatnonzero(~listing.entry_is_dot)
    inode = np.concatenate((np.array([tree.ROOT], np.uint32), listing.entry_inode[named]))
    index = np.zeros(len(tree), np.int64)
    index[inode[::-1]] = np.arange(len(inode), 0, -1)  # of the first name, but directories have only one
    children = np.diff(listing.first_entry) - 2  # without `.` and `..`
    first_child = np.cumsum(children) - children + ROOT_INO + 1
    own = index[listing.directories]
    parent = np.concatenate((np.zeros(1, np.int64), np.repeat(own, children)))
    ends = listing.name_starts()
    pieces = [listing.names[ends[row] : ends[row + 1]] for row in named.tolist()]
    start = np.zeros(len(inode) + 1, np.int64)
    np.cumsum([len(ROOT_NAME), *map(len, pieces)], out=start[1:])
    return Names(
        inode=inode,
        parent=parent.astype(np.uint64),
        start=start,
        text=b"".join((ROOT_NAME, *pieces)),
        directories=own - 1,
        first_child=first_child,
        children=children,
    )
