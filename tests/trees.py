"""Snapshots of file trees, and their differences in words.

A snapshot holds what a program could see of a tree: names, types, modes, owners, times (whole seconds),
sizes, link targets, which names share an inode, device numbers, extended attributes, and the SHA-256 of
every regular file.

Link counts are computed from the tree and not taken from `stat`: a directory has 2 plus its subdirectories,
another inode as many as its names. overlayfs shows 1 or a stale number for merged directories, and counts
names of a lower file that an upper layer hides. `stat_links` keeps what `stat` said, for readers that must
say the truth.

A name that a directory lists and a lookup does not find is a node of the kind `unreachable`: EROFS readers
that search a badly sorted directory show such names, and overlayfs does for whiteouts in a directory that
no lower layer has.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Node:
    """What one name of a tree shows.

    Args:
        mode: permission bits, with setuid, setgid and sticky.
        mtime_s: seconds since 1970, rounded down; None in a truth that does not know.
        size: bytes; 0 for directories, whose size each file system makes up.
        links: link count as it must be (see the module's text).
        stat_links: link count that `stat` showed; not compared by `differences`.
        group: the first of the names that share the inode, if there are more than one.
        device: device number (`st_rdev`) of devices, else 0.
        sha256: hexadecimal digits, of regular files.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_s: int | None
    size: int
    links: int
    stat_links: int
    target: bytes
    group: bytes
    device: int
    xattrs: tuple[tuple[str, bytes], ...]
    sha256: str


Tree = dict[bytes, Node]
UNREACHABLE = Node("unreachable", 0, 0, 0, 0, 0, 0, 0, b"", b"", 0, (), "")


def snapshot(root: Path) -> Tree:
    """Reads the whole tree below `root`.

    Returns:
        The nodes by path relative to `root`; the root itself is `b"."`.
    """
    top = os.fsencode(root)
    nodes: Tree = {b".": _node(top, os.lstat(top), None)}
    names: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    subdirectories: dict[bytes, int] = defaultdict(int)
    digests: dict[tuple[int, int], str] = {}
    for entry in _walk(top):
        path = entry.path[len(top) + 1 :]
        try:
            status = os.lstat(entry.path)
        except FileNotFoundError:
            nodes[path] = UNREACHABLE
            continue
        inode = (status.st_dev, status.st_ino)
        node = nodes[path] = replace(_node(entry.path, status, digests.get(inode)), kind=_kind(entry, status))
        if stat.S_ISDIR(status.st_mode):
            subdirectories[os.path.dirname(path) or b"."] += 1
        else:
            names[inode].append(path)
            digests[inode] = node.sha256
    for path, node in nodes.items():
        if node.kind == "directory":
            nodes[path] = replace(node, links=2 + subdirectories[path])
    for group in names.values():
        for path in group:
            nodes[path] = replace(nodes[path], links=len(group), group=min(group) if len(group) > 1 else b"")
    return nodes


def _walk(directory: bytes) -> Iterator[os.DirEntry[bytes]]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def _kind(entry: os.DirEntry[bytes], status: os.stat_result) -> str:
    """The type of an inode; a directory that lists it as another type is said too."""
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    listed = (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False), entry.is_symlink())
    if listed != (kind == "file", kind == "directory", kind == "symlink"):
        return f"{kind}, listed as another type"
    return kind


def _node(path: bytes, status: os.stat_result, known_digest: str | None) -> Node:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    return Node(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_s=status.st_mtime_ns // 1_000_000_000,
        size=0 if kind == "directory" else status.st_size,
        links=0,
        stat_links=status.st_nlink,
        target=os.readlink(path) if kind == "symlink" else b"",
        group=b"",
        device=status.st_rdev if kind in ("char", "block") else 0,
        xattrs=_xattrs(path),
        sha256=(known_digest or _sha256(path)) if kind == "file" else "",
    )


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)


def _sha256(path: bytes) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def wrong_link_counts(tree: Tree) -> list[str]:
    """The names whose `stat` does not show the right link count."""
    return [
        f"{_show(path)}: link count {node.stat_links}, should be {node.links}"
        for path, node in sorted(tree.items())
        if node.stat_links != node.links
    ]


def differences(expected: Tree, actual: Tree, ignore: Iterable[str] = ("stat_links",)) -> list[str]:
    """All differences, one line each, in the order of the paths.

    Args:
        expected: the truth.
        actual: what is held against it.
        ignore: fields of `Node` that may differ.
    """
    compared = [field.name for field in fields(Node) if field.name not in {*ignore, "stat_links"}]
    lines = []
    for path in sorted(expected.keys() | actual.keys()):
        want, have = expected.get(path), actual.get(path)
        if want is None or have is None:
            kind = (want or have).kind  # type: ignore[union-attr]  # one of the two is there
            lines.append(f"{_show(path)}: {'missing' if have is None else 'should not be there'} ({kind})")
            continue
        for name in compared:
            wanted, had = getattr(want, name), getattr(have, name)
            if wanted != had and not (name == "mtime_s" and wanted is None):
                lines.append(
                    f"{_show(path)}: {name} is {_value(name, had)}, should be {_value(name, wanted)}"
                )
    return lines


def assert_same_tree(expected: Tree, actual: Tree, ignore: Iterable[str] = (), show: int = 40) -> None:
    """Fails with the first `show` differences."""
    lines = differences(expected, actual, ignore)
    if lines:
        rest = [f"… and {len(lines) - show} more"] if len(lines) > show else []
        raise AssertionError(f"{len(lines)} differences:\n" + "\n".join(lines[:show] + rest))


def reachable(tree: Tree) -> Tree:
    """The tree without its unreachable names."""
    return {path: node for path, node in tree.items() if node is not UNREACHABLE}


def forget_times(tree: Tree, since_s: int) -> Tree:
    """The tree with None for every time from `since_s` on: times of the unpacking, not of the image."""
    return {
        path: replace(node, mtime_s=None) if node.mtime_s is not None and node.mtime_s >= since_s else node
        for path, node in tree.items()
    }


def forget_directory_times(tree: Tree) -> Tree:
    """The tree with None for the time of every directory."""
    return {
        path: replace(node, mtime_s=None) if node.kind == "directory" else node for path, node in tree.items()
    }


def _show(path: bytes) -> str:
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def _value(name: str, value: object) -> str:
    return f"{value:#o}" if name == "mode" else repr(value)
