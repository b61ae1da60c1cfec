"""Reads the directories of a bootstrap, from the root (§3.7 "Directories", §5.5)."""

from __future__ import annotations

import stat
import struct
from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np

from converter.errors import BootstrapError
from converter.rafs.inode_area import InodeArea
from converter.rafs.layout import BLOCK_SIZE, DIRENT, FILE_TYPE, MAX_NAME_LENGTH, ROOT_NID
from converter.tree import FileTree

DIRECTORY: Final = FILE_TYPE[stat.S_IFDIR >> 12]
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
            number, names = self.number[nid], {}
            for name, (child, file_type) in self._read_directory(nid, parent).items():
                names[name] = self._count_name(child, file_type)
                if file_type == DIRECTORY:
                    stack.append((child, nid))
                    self.links[number] += 1
            self.children[number] = names
        if self._names_left:
            raise BootstrapError(f"there are {self._names_left} names less than the superblock says")

    def _count_name(self, nid: int, file_type: int) -> int:
        """Numbers an inode that an entry means."""
        if self._names_left == 0:
            raise BootstrapError("there are more names than the superblock says")
        self._names_left -= 1
        number = self.number.setdefault(nid, len(self.number))
        if number == len(self.types):
            self.types.append(file_type)
            self.links.append(2 if file_type == DIRECTORY else 1)
        elif file_type == DIRECTORY or self.types[number] != file_type:
            raise BootstrapError(f"the inode with nid {nid} is a directory with two names, or of two types")
        else:
            self.links[number] += 1
        return number

    def _read_directory(self, nid: int, parent: int) -> dict[bytes, tuple[int, int]]:
        """The entries of one directory but for `.` and `..`: name to nid and type."""
        positions = self._area.positions(np.array([nid], np.uint64))
        inode = self._area.inodes(positions)[0]
        size = int(inode["size"])
        self._bytes_left -= size
        if stat.S_IFMT(int(inode["mode"])) != stat.S_IFDIR or self._bytes_left < 0:
            raise BootstrapError(f"the inode with nid {nid} is no directory, or directories overlap")
        data = self._area.data(inode, int(positions[0]))
        entries: dict[bytes, tuple[int, int]] = {}
        last = b""
        for start in range(0, size, BLOCK_SIZE):
            for name, target, file_type in _read_block(data[start : start + BLOCK_SIZE]):
                if name <= last:
                    raise BootstrapError(f"the names {last[:80]!r} and {name[:80]!r} are out of order")
                entries[name] = target, file_type
                last = name
        if entries.pop(_DOT, None) != (nid, DIRECTORY) or entries.pop(_DOT_DOT, None) != (parent, DIRECTORY):
            raise BootstrapError(f"the directory with nid {nid} lacks '.' or '..', or they lead elsewhere")
        return entries


_DOT: Final = b"."
_DOT_DOT: Final = b".."


def _read_block(block: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The entries of one directory block: name, nid and type."""
    first = int.from_bytes(block[8:10], "little")
    if not DIRENT.itemsize <= first <= len(block) or first % DIRENT.itemsize:
        raise BootstrapError(f"a directory block of {len(block)} bytes has its first name at {first}")
    entries = list(_DIRENT.iter_unpack(block[:first]))
    ends = [*(entry[1] for entry in entries[1:]), len(block.rstrip(b"\0"))]
    for (nid, start, file_type, reserved), end in zip(entries, ends, strict=True):
        name = block[start:end]
        if not start < end <= len(block) or len(name) > MAX_NAME_LENGTH or reserved:
            raise BootstrapError(f"an entry of a directory has its name at {start}…{end} of its block")
        if b"\0" in name or b"/" in name:
            raise BootstrapError(f"a directory has the name {name!r}")
        yield name, nid, file_type
