"""Reads the directories of a bootstrap, from the root (§3.7 "Directories", §5.5)."""

from __future__ import annotations

import operator
import stat
import struct
from array import array
from typing import Final

from converter.errors import BootstrapError
from converter.rafs.inode_area import InodeArea
from converter.rafs.layout import BLOCK_SIZE, DIRENT, FILE_TYPE, MAX_NAME_LENGTH, ROOT_NID
from converter.tree import FileTree

Entries = tuple[list[bytes], list[tuple[int, int]]]  # names; and what each means, as nid and type

DIRECTORY: Final = FILE_TYPE[stat.S_IFDIR >> 12]
_DOT: Final = b"."
_DOT_DOT: Final = b".."
_DIRENT: Final = struct.Struct("<QHBB")  # as layout.DIRENT, for the few entries of one block


class DirectoryReader:
    """Reads all names of a bootstrap, and numbers the inodes that they mean.

    Args:
        area: the metadata area.
        names: how many names the superblock promises.

    Raises:
        BootstrapError: from `read`: the directories break the format.

    Attributes:
        number: position of each inode in the tree, by nid, ascending.
        types: of each inode, as its entries say.
        links: of each inode, as its names make them.
        children: names of each directory.
    """

    def __init__(self, area: InodeArea, names: int) -> None:
        self._area = area
        self._names_left = names
        self._bytes_left = len(area.view)  # sound directories do not overlap, so this bounds all of them
        self.number = {ROOT_NID: FileTree.ROOT}
        self.types = bytearray([DIRECTORY])
        self.links = array("I", [2])
        self.children: dict[int, dict[bytes, int]] = {}

    def read(self) -> None:
        """Reads from the root on."""
        stack = [(ROOT_NID, ROOT_NID)]
        while stack:
            nid, parent = stack.pop()
            names, meanings = self._read_directory(nid, parent)
            self._names_left -= len(names)
            if self._names_left < 0:
                raise BootstrapError("there are more names than the superblock says")
            below = [child for child, file_type in meanings if file_type == DIRECTORY]
            self.links[self.number[nid]] += len(below)
            stack.extend((child, nid) for child in below)
            numbers = [self._count_name(*meaning) for meaning in meanings]
            self.children[self.number[nid]] = dict(zip(names, numbers, strict=True))
        if self._names_left:
            raise BootstrapError(f"there are {self._names_left} names less than the superblock says")

    def _count_name(self, nid: int, file_type: int) -> int:
        """Numbers an inode that an entry means."""
        number = self.number.setdefault(nid, len(self.number))
        if number == len(self.types):
            self.types.append(file_type)
            self.links.append(2 if file_type == DIRECTORY else 1)
        elif file_type == DIRECTORY or self.types[number] != file_type:
            raise BootstrapError(f"the inode with nid {nid} is a directory with two names, or of two types")
        else:
            self.links[number] += 1
        return number

    def _read_directory(self, nid: int, parent: int) -> Entries:
        """The entries of one directory but for `.` and `..`."""
        data = self._area.data(self._area.position(nid), stat.S_IFDIR)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise BootstrapError("the directories have more data than the file, so they overlap")
        names: list[bytes] = []
        meanings: list[tuple[int, int]] = []
        for start in range(0, len(data), BLOCK_SIZE):
            _read_block(data[start : start + BLOCK_SIZE], names, meanings)
        if any(map(operator.ge, names, names[1:])):
            raise BootstrapError(f"the names of the directory with nid {nid} are out of order")
        for name, expected in ((_DOT, nid), (_DOT_DOT, parent)):
            if name not in names or meanings[at := names.index(name)] != (expected, DIRECTORY):
                raise BootstrapError(
                    f"the directory with nid {nid} lacks '.' or '..', or they lead elsewhere"
                )
            del names[at], meanings[at]
        return names, meanings


def _read_block(block: bytes, names: list[bytes], meanings: list[tuple[int, int]]) -> None:
    """Appends the entries of one directory block."""
    first = int.from_bytes(block[8:10], "little")
    if not DIRENT.itemsize <= first <= len(block) or first % DIRENT.itemsize:
        raise BootstrapError(f"a directory block of {len(block)} bytes has its first name at {first}")
    end = len(block.rstrip(b"\0"))
    if b"\0" in block[first:end] or b"/" in block[first:end]:
        raise BootstrapError(f"a directory has names with a NUL or a slash: {block[first:end][:80]!r}")
    nids, starts, types, reserved = zip(*_DIRENT.iter_unpack(block[:first]), strict=True)
    ends = (*starts[1:], end)
    lengths = list(map(operator.sub, ends, starts))
    if min(lengths) < 1 or max(lengths) > MAX_NAME_LENGTH or any(reserved):
        raise BootstrapError("an entry of a directory has an empty name, or one that is too long")
    names.extend(map(block.__getitem__, map(slice, starts, ends)))
    meanings.extend(zip(nids, types, strict=True))
