"""Comparing trees: each kind of difference is told once, by its path; equal trees have none."""

from __future__ import annotations

import stat
from collections.abc import Callable

import numpy as np
import pytest

from converter.tree import FileTree
from converter.tree_compare import DIGEST, TreeContent, compare_trees

DIR, REG, LNK, CHR = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600


def sample(order: int = 1) -> FileTree:
    """A tree; another `order` numbers the inodes in another way."""
    tree = FileTree()
    inodes = {}
    for name in sorted((b"d", b"empty", b"f", b"link", b"dev"), reverse=order < 0):
        mode = {b"d": DIR, b"empty": DIR, b"f": REG, b"link": LNK, b"dev": CHR}[name]
        size = {b"f": 8000, b"link": 3}.get(name, 0)
        inodes[name] = tree.add_inode(mode=mode, uid=1, mtime_s=-5, mtime_ns=7, size=size, rdev=mode == CHR)
        tree.link(tree.ROOT, name, inodes[name])
    tree.symlink_target[inodes[b"link"]] = b"d/x"
    tree.xattrs[inodes[b"f"]] = ((b"user.a", b"1"),)
    tree.link(inodes[b"d"], b"again", inodes[b"f"])
    other = tree.add_inode(mode=REG, size=4096)
    tree.link(inodes[b"d"], b"\xff\n", other)
    for inode, refs in ((inodes[b"f"], (0, 1)), (other, (2,))):
        tree.set_chunks(inode, len(tree.chunk_refs), len(refs))
        tree.chunk_refs.extend(refs)
        tree.chunk_blob.extend([0] * len(refs))
    return tree


def content(tree: FileTree) -> TreeContent:
    digests = np.zeros(len(tree.chunk_refs), DIGEST)
    for use, ref in enumerate(tree.chunk_refs):
        digests[use] = np.void(bytes([ref]) * 32)
    return TreeContent(tree, digests)


def differences(changed: FileTree) -> list[str]:
    return list(compare_trees(content(sample()), content(changed)))


def find(tree: FileTree, *names: bytes) -> int:
    inode: int | None = tree.ROOT
    for name in names:
        assert inode is not None
        inode = tree.lookup(inode, name)
    assert inode is not None
    return inode


def test_trees_with_other_inode_numbers_are_the_same() -> None:
    assert differences(sample(-1)) == []


def unlink_again(tree: FileTree) -> None:
    """Breaks the hardlink: a copy takes its place."""
    old = find(tree, b"f")
    copy = tree.add_inode(mode=REG, uid=1, mtime_s=-5, mtime_ns=7, size=8000)
    tree.xattrs[copy] = tree.xattrs[old]
    tree.set_chunks(copy, tree.first_chunk[old], tree.chunk_count[old])
    tree.link(find(tree, b"d"), b"again", copy)


def assign(column: str, value: int, *names: bytes) -> Callable[[FileTree], None]:
    def change(tree: FileTree) -> None:
        getattr(tree, column)[find(tree, *names)] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (assign("mode", DIR & ~0o50, b"empty"), ["/empty: mode is 0o705, should be 0o755"]),
        (assign("mode", stat.S_IFIFO | 0o600, b"dev"), ["/dev: is a FIFO, should be a character device"]),
        (assign("uid", 2, b"d"), ["/d: uid is 2, should be 1"]),
        (assign("gid", 2), ["/: gid is 2, should be 0"]),
        (assign("mtime_s", 5, b"f"), [f"/{n}: mtime_s is 5, should be -5" for n in ("f", "d/again")]),
        (assign("mtime_ns", 0, b"link"), ["/link: mtime_ns is 0, should be 7"]),
        (assign("rdev", 9, b"dev"), ["/dev: rdev is 9, should be 1"]),
        (assign("size", 4095, b"d", b"\xff\n"), [r"/d/\xff\n: size is 4095, should be 4096"]),
        (lambda t: t.symlink_target.update({find(t, b"link"): b"d/y"}),
         ["/link: link target is b'd/y', should be b'd/x'"]),
        (lambda t: t.xattrs.update({find(t, b"d"): ((b"user.b", b""),)}),
         ["/d: xattrs is ((b'user.b', b''),), should be None"]),
        (lambda t: t.xattrs.clear(),
         [f"/{n}: xattrs is None, should be ((b'user.a', b'1'),)" for n in ("f", "d/again")]),
        (lambda t: t.unlink(t.ROOT, b"d"), ["/d: missing (directory)"]),
        (lambda t: t.link(find(t, b"empty"), b"x", t.add_inode(mode=DIR)),
         ["/empty/x: should not be there (directory)"]),
        (unlink_again, ["/d/again: is not the same file as /f, which it should be"]),
        (lambda t: t.link(find(t, b"empty"), b"f", find(t, b"f")), ["/empty/f: should not be there (file)"]),
        (assign("chunk_count", 1, b"f"), [f"/{n}: has 1 chunks, should have 2" for n in ("f", "d/again")]),
        (lambda t: t.chunk_refs.__setitem__(2, 1), [r"/d/\xff\n: the content of chunk 0 is different"]),
        (lambda t: t.chunk_refs.__setitem__(slice(0, 2), t.chunk_refs[1::-1]),
         [f"/{n}: the content of chunk {i} is different" for n in ("f", "d/again") for i in (0, 1)]),
    ],
)  # fmt: skip
def test_a_difference_is_told(change: Callable[[FileTree], object], expected: list[str]) -> None:
    tree = sample()
    change(tree)
    assert differences(tree) == expected


def test_files_that_became_one_are_told() -> None:
    expected, changed = sample(), sample()
    for tree in (expected, changed):
        twin = tree.add_inode(mode=DIR & 0o777 | stat.S_IFIFO)
        tree.link(tree.ROOT, b"one", twin)
        tree.link(tree.ROOT, b"two", twin if tree is changed else tree.add_inode(mode=tree.mode[twin]))
    assert list(compare_trees(content(expected), content(changed))) == [
        "/two: is the same file as /one, which it should not be"
    ]
