"""A tree that the converter's own reader gave, in the form of snapshots of mounts."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable

from converter.tree import FileTree
from tests.converter.layers import paths
from tests.trees import KINDS, Node, Tree


def snapshot_of(tree: FileTree, sha256: Callable[[int], str]) -> Tree:
    """Every path of the tree with all that a snapshot has.

    Args:
        tree: with all layers applied.
        sha256: gives the hexadecimal digest of a regular file's content; asked once for each inode.
    """
    names: dict[int, list[bytes]] = defaultdict(list)
    for path, inode in {b".": tree.ROOT, **paths(tree)}.items():
        names[inode].append(path)
    nodes: Tree = {}
    for inode, group in names.items():
        nodes.update(dict.fromkeys(group, _node(tree, inode, group, sha256)))
    return nodes


def _node(tree: FileTree, inode: int, names: list[bytes], sha256: Callable[[int], str]) -> Node:
    kind = KINDS[stat.S_IFMT(tree.mode[inode])]
    links = len(names)
    if kind == "directory":
        links = 2 + sum(map(tree.is_directory, tree.children(inode).values()))
    return Node(
        kind=kind,
        mode=stat.S_IMODE(tree.mode[inode]),
        uid=tree.uid[inode],
        gid=tree.gid[inode],
        mtime_s=tree.mtime_s[inode],
        size=tree.size[inode],
        links=links,
        stat_links=links,
        target=tree.symlink_target.get(inode, b""),
        group=min(names) if len(names) > 1 else b"",
        device=_device(tree.rdev[inode]),
        xattrs=tuple((os.fsdecode(name), value) for name, value in tree.xattrs.get(inode, ())),
        sha256=sha256(inode) if kind == "file" else "",
    )


def _device(encoded: int) -> int:
    """A device number of the kernel (Linux `include/linux/kdev_t.h`, new_decode_dev) as `stat` shows it."""
    return os.makedev((encoded & 0xFFF00) >> 8, (encoded & 0xFF) | ((encoded >> 12) & 0xFFF00))
