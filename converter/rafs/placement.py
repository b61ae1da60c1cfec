"""Where inodes and directory data go: the placement rules of the reference builder (§3.9).

Inodes are laid out one after the other. Where one does not fit into the rest of a block, because its inlined
data must not cross the block's end, the rest is remembered, and later inodes that fit into it are put there.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from converter.rafs.layout import BLOCK_SIZE, META_GAP, SLOT_SIZE, round_up

_SLOTS: Final = BLOCK_SIZE // SLOT_SIZE


class Shape(IntEnum):
    """How the data of an inode lie."""

    CHUNKED = 0  # regular file: chunk indexes follow the inode; block boundaries do not matter
    INLINE = 1  # directory or symlink: full blocks elsewhere, and a tail behind the inode, in its block
    PLAIN = 2  # directory or symlink: all data in blocks elsewhere
    BARE = 3  # device or FIFO: no data


@dataclass(frozen=True, slots=True)
class Placement:
    """Byte positions relative to the start of the metadata.

    Attributes:
        inodes: position of each inode, in the order given.
        data: position of the blocks of each INLINE or PLAIN inode; of others 0.
        end: position behind everything.
    """

    inodes: array[int]
    data: array[int]
    end: int


def place(nodes: Iterable[tuple[int, int, int]]) -> Placement:
    """Places inodes in the order given.

    Args:
        nodes: for each inode its shape; its bytes with xattrs (and chunk indexes, if it is CHUNKED); and the
            bytes of its data, if it is INLINE or PLAIN.

    Returns:
        The positions.
    """
    space = _Space()
    inodes, data = array("q"), array("q")
    for shape, head, data_size in nodes:
        start = 0
        if shape == Shape.CHUNKED:
            position = space.take(head)
        elif shape == Shape.INLINE:
            position, start = space.take_inline(head, data_size)
        elif shape == Shape.PLAIN:
            position, start = space.take_plain(head, data_size)
        else:
            position = space.append(head)
        inodes.append(position)
        data.append(start)
        space.end = (space.end + SLOT_SIZE - 1) & -SLOT_SIZE
    return Placement(inodes, data, space.end)


class _Space:
    """The space handed out so far, and the rests of blocks that were left behind."""

    def __init__(self) -> None:
        self.end = META_GAP
        self._rests: list[deque[int]] = [deque() for _ in range(_SLOTS)]  # by free slots: start of the block
        self._present = 0  # bit i is set if there is a block with i free slots

    def append(self, size: int) -> int:
        """Takes `size` bytes at the end."""
        position = self.end
        self.end += size
        return position

    def take(self, size: int) -> int:
        """Takes `size` bytes from a rest, else at the end."""
        position = self._take_rest(size)
        return self.append(size) if position is None else position

    def take_inline(self, head: int, data_size: int) -> tuple[int, int]:
        """Takes space for an inode of `head` bytes with its tail in the same block, and for its full blocks.

        Returns:
            The positions of the inode and of its full blocks.
        """
        tail = data_size % BLOCK_SIZE
        position = self._take_rest(head + tail)
        if position is None:
            if BLOCK_SIZE - self.end % BLOCK_SIZE < head + tail:
                self._align()
            position = self.append(head + tail)
        if data_size != tail:
            self._align()
        return position, self.append(data_size - tail)

    def take_plain(self, head: int, data_size: int) -> tuple[int, int]:
        """Takes space for an inode of `head` bytes, and for its data in blocks of their own.

        Returns:
            The positions of the inode and of its blocks.
        """
        position = self.take(head)
        self._align()
        start = self.append(data_size)
        self.end = round_up(self.end, BLOCK_SIZE)
        return position, start

    def _align(self) -> None:
        """Goes on to the next block and remembers the rest of this one."""
        self._remember(self.end)
        self.end = round_up(self.end, BLOCK_SIZE)

    def _remember(self, position: int) -> None:
        used = position % BLOCK_SIZE
        if used:
            slots = (BLOCK_SIZE - used) // SLOT_SIZE
            self._rests[slots].append(position - used)
            self._present |= 1 << slots

    def _take_rest(self, size: int) -> int | None:
        """Takes `size` bytes from the oldest of the smallest rests that are large enough."""
        if size >= BLOCK_SIZE:
            return None
        needed = -(-size // SLOT_SIZE)
        candidates = self._present >> needed << needed
        if not candidates:
            return None
        slots = (candidates & -candidates).bit_length() - 1
        rests = self._rests[slots]
        position = rests.popleft() + BLOCK_SIZE - SLOT_SIZE * slots
        if not rests:
            self._present &= ~(1 << slots)
        self._remember(position + SLOT_SIZE * needed)
        return position
