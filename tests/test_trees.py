"""Snapshots see what they say they see, and differences name it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trees import Tree, assert_same_tree, differences, forget_times, snapshot, wrong_link_counts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/file").write_bytes(b"content")
    os.link(tmp_path / "d/file", tmp_path / "linked")
    (tmp_path / "d/symlink").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "d").chmod(0o1755)
    os.utime(tmp_path / "d/file", ns=(0, -1_500_000_000))
    os.setxattr(tmp_path / "d/file", "user.a", b"\0\xff")
    return tmp_path


def test_a_snapshot_has_everything(tree: Path) -> None:
    nodes = snapshot(tree)
    assert set(nodes) == {b".", b"d", b"d/e", b"d/file", b"d/symlink", b"fifo", b"linked"}
    assert nodes[b"d/file"] == replace(
        nodes[b"linked"], kind="file", mtime_s=-2, size=7, links=2, group=b"d/file", target=b"",
        xattrs=(("user.a", b"\0\xff"),),
        sha256="ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
    )  # fmt: skip
    assert (nodes[b"d"].mode, nodes[b"d"].links) == (0o1755, 3)
    assert (nodes[b"d/symlink"].target, nodes[b"d/symlink"].size) == (b"file", 4)
    assert nodes[b"fifo"].kind == "fifo"
    assert wrong_link_counts(nodes) == []


def test_equal_trees_do_not_differ(tree: Path) -> None:
    assert differences(snapshot(tree), snapshot(tree)) == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (lambda root: (root / "d/file").write_bytes(b"Content"), "d/file: sha256 is"),
        (lambda root: (root / "d/file").unlink(), "d/file: missing (file)"),
        (lambda root: (root / "new").write_bytes(b""), "new: should not be there (file)"),
        (lambda root: (root / "d").chmod(0o755), "d: mode is 0o755, should be 0o1755"),
        (lambda root: os.removexattr(root / "linked", "user.a"), "linked: xattrs is ()"),
        (lambda root: os.utime(root / "linked", (0, 0)), "linked: mtime_s is 0, should be -2"),
        (lambda root: (root / "d/e").rmdir(), "d: links is 2, should be 3"),
    ],
)
def test_each_difference_is_named(tree: Path, command: object, expected: str) -> None:
    before = snapshot(tree)
    assert callable(command)
    command(tree)
    assert any(line.startswith(expected) for line in differences(before, snapshot(tree)))


def test_a_broken_hardlink_is_a_difference(tree: Path) -> None:
    before = snapshot(tree)
    content, times, attribute = b"content", (0, -1_500_000_000), b"\0\xff"
    (tree / "linked").unlink()
    (tree / "linked").write_bytes(content)
    os.setxattr(tree / "linked", "user.a", attribute)
    os.utime(tree / "linked", ns=times)
    assert {line.split(" is ")[0] for line in differences(before, snapshot(tree))} == {
        "d/file: links", "d/file: group", "linked: links", "linked: group",
    }  # fmt: skip


def test_times_of_the_unpacking_are_not_compared(tree: Path) -> None:
    before = forget_times(snapshot(tree), 0)
    os.utime(tree / "fifo", (1, 1))
    assert differences(before, snapshot(tree)) == []
    os.utime(tree / "linked", (1, 1))
    assert differences(before, snapshot(tree)) != []


def test_the_assertion_shows_the_first_differences(tree: Path) -> None:
    nodes = snapshot(tree)
    empty: Tree = {}
    with pytest.raises(AssertionError, match=r"(?s)7 differences.*d: missing \(directory\)\n… and 5 more"):
        assert_same_tree(nodes, empty, show=2)
