"""What our reader shows of a converted image, as a snapshot like that of a mount."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict

from converter.nydus_image import NydusImage
from converter.tree import FileTree
from tests.converter.layers import paths
from tests.trees import Node, Tree

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


def shown(image: NydusImage) -> Tree:
    """The tree of an image, every byte of its files read and checked."""
    tree = image.bootstrap.tree
    inodes = {b".": tree.ROOT, **paths(tree)}
    names: dict[int, list[bytes]] = defaultdict(list)
    for path, inode in inodes.items():
        names[inode].append(path)
    digests: dict[int, str] = {}
    found = {}
    for path, inode in inodes.items():
        kind = KINDS[stat.S_IFMT(tree.mode[inode])]
        if kind == "file" and inode not in digests:
            digests[inode] = _sha256(image, inode)
        found[path] = _node(tree, inode, kind, names[inode], digests.get(inode, ""))
    return found


def nanoseconds(image: NydusImage) -> dict[bytes, int]:
    """The part of each time that snapshots leave out."""
    tree = image.bootstrap.tree
    return {path: tree.mtime_ns[inode] for path, inode in paths(tree).items()}


def _node(tree: FileTree, inode: int, kind: str, names: list[bytes], sha256: str) -> Node:
    links = len(names)
    if kind == "directory":
        links = 2 + sum(tree.is_directory(child) for child in tree.children(inode).values())
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
        xattrs=tuple(
            (name.decode("utf-8", "surrogateescape"), value) for name, value in tree.xattrs.get(inode, ())
        ),
        sha256=sha256,
    )


def _device(encoded: int) -> int:
    """The number as stat(2) shows it, from that of the kernel (Linux include/linux/kdev_t.h)."""
    return os.makedev(encoded >> 8 & 0xFFF, encoded & 0xFF | encoded >> 12 & 0xFFF00) if encoded else 0


def _sha256(image: NydusImage, inode: int) -> str:
    digest = hashlib.sha256()
    size = 0
    for piece in image.content(inode):
        digest.update(piece)
        size += len(piece)
    assert size == image.bootstrap.tree.size[inode]
    return digest.hexdigest()
