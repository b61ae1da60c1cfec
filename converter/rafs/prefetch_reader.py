"""Names the inodes that a prefetch table lists (§3.5, §9.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from converter.errors import BootstrapError
from converter.tree import FileTree

# A damaged table can list each of a million directories that lie in each other.
MAX_PATH_BYTES: Final = 64 << 20


def name_inodes(tree: FileTree, inodes: Iterable[int]) -> tuple[bytes, ...]:
    """The paths of inodes, each once, in the order in which they come.

    Args:
        tree: the files.
        inodes: of the tree, with a name each.

    Raises:
        BootstrapError: the paths are longer together than any that a client could use.
    """
    wanted = dict.fromkeys(inodes)
    if not wanted:
        return ()
    if list(wanted) == [tree.ROOT]:
        return (b"/",)
    names = _find_names(tree, set(wanted))
    paths = []
    room = MAX_PATH_BYTES
    for inode in wanted:
        parts: list[bytes] = []
        while inode != tree.ROOT:
            directory, name = names[inode]
            parts.append(name)
            room -= len(name) + 1
            if room < 0:
                raise BootstrapError(f"the prefetch table names paths of more than {MAX_PATH_BYTES} bytes")
            inode = directory
        paths.append(b"/" + b"/".join(reversed(parts)))
    return tuple(paths)


def _find_names(tree: FileTree, wanted: set[int]) -> dict[int, tuple[int, bytes]]:
    """Directory and name of all directories and of the wanted inodes: of several names, the first one."""
    names: dict[int, tuple[int, bytes]] = {}
    for directory, name, inode in tree.walk():
        if inode in wanted or tree.is_directory(inode):
            names.setdefault(inode, (directory, name))
    return names
