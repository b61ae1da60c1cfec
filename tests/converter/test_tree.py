"""The tree that layers are read into."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.tree import FileTree, device_number


def test_a_new_tree_is_an_implicit_root() -> None:
    tree = FileTree()
    assert len(tree) == 1
    assert tree.is_directory(tree.ROOT)
    assert not tree.explicit[tree.ROOT]
    assert tree.mode[tree.ROOT] == stat.S_IFDIR | 0o755
    assert tree.children(tree.ROOT) == {}


def test_names_and_inodes() -> None:
    tree = FileTree()
    directory = tree.add_inode(mode=stat.S_IFDIR | 0o700)
    file = tree.add_inode(mode=stat.S_IFREG | 0o600, uid=1, gid=2, mtime_s=-3, mtime_ns=4, size=5)
    tree.link(tree.ROOT, b"d", directory)
    tree.link(directory, b"a", file)
    tree.link(tree.ROOT, b"b", file)
    assert list(tree.walk()) == [(0, b"b", file), (0, b"d", directory), (directory, b"a", file)]
    assert tree.lookup(directory, b"a") == file
    assert tree.lookup(directory, b"b") is None
    assert tree.lookup(file, b"b") is None
    tree.unlink(tree.ROOT, b"d")
    assert list(tree.walk()) == [(0, b"b", file)]
    with pytest.raises(KeyError):
        tree.unlink(tree.ROOT, b"d")
    with pytest.raises(KeyError):
        tree.children(file)


def test_values_that_do_not_fit() -> None:
    tree = FileTree()
    with pytest.raises(OverflowError):
        tree.add_inode(mode=stat.S_IFREG, uid=-1)
    with pytest.raises(OverflowError):
        tree.add_inode(mode=stat.S_IFREG, mtime_s=1 << 63)


def test_metadata_do_not_change_the_type() -> None:
    tree = FileTree()
    tree.set_metadata(tree.ROOT, mode=stat.S_IFDIR | 0o711, mtime_s=5)
    assert (tree.mode[tree.ROOT], tree.mtime_s[tree.ROOT], tree.explicit[tree.ROOT]) == (0o40711, 5, 1)
    with pytest.raises(ValueError, match="cannot change its type"):
        tree.set_metadata(tree.ROOT, mode=stat.S_IFREG)


@given(st.integers(0, (1 << 12) - 1), st.integers(0, (1 << 20) - 1))
def test_device_numbers_are_the_kernels(major: int, minor: int) -> None:
    encoded = device_number(major, minor)
    assert encoded < 1 << 32
    # glibc's encoding of 64 bits has the kernel's 32 in its low half.
    assert os.makedev(major, minor) & 0xFFFFFFFF == encoded


@pytest.mark.parametrize(("major", "minor"), [(1 << 12, 0), (0, 1 << 20), (-1, 0), (0, -1)])
def test_device_numbers_that_do_not_fit(major: int, minor: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        device_number(major, minor)
