"""Compares two file trees: every name, every field of metadata, and what is said of every chunk of content.

Names are compared directory by directory, metadata and content in columns, so that a million files take
seconds. A name that only one of the trees has is one difference, whatever is below it.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.rafs.nodes import column
from converter.tree import FileTree

Digests = npt.NDArray[np.void]
DIGEST: Final = np.dtype("V32")

_COLUMNS: Final = ("mode", "uid", "gid", "mtime_s", "mtime_ns", "size", "rdev")
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TreeContent:
    """A tree, and what its files hold.

    Args:
        tree: the files.
        digests: of the content of each item of `tree.chunk_refs`; both trees of a comparison need the same
            algorithm and the same chunk size.
    """

    tree: FileTree
    digests: Digests


def compare_trees(expected: TreeContent, actual: TreeContent) -> Iterator[str]:
    """Compares all that can be reached from the roots.

    Times and xattrs of directories count like those of files; so does which names share an inode. Whether a
    directory is implicit does not.

    Returns:
        A line for each difference, beginning with the path; none if the trees are the same.
    """
    pairs = _Pairs(expected.tree, actual.tree)
    yield from pairs.match_names()
    yield from _compare_columns(pairs)
    yield from _compare_links(pairs)
    yield from _compare_sparse(pairs, "link target", expected.tree.symlink_target, actual.tree.symlink_target)
    yield from _compare_sparse(pairs, "xattrs", expected.tree.xattrs, actual.tree.xattrs)
    yield from _compare_content(pairs, expected, actual)


def show_path(path: bytes) -> str:
    """A path for people, in one line; bytes that are not UTF-8 as escapes."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Pairs:
    """The inodes that both trees have under the same path, the roots first.

    Attributes:
        expected, actual: numbers of the inodes, once `match_names` is through.
    """

    def __init__(self, expected: FileTree, actual: FileTree) -> None:
        self.expected_tree, self.actual_tree = expected, actual
        self.expected = np.array([expected.ROOT], np.intp)
        self.actual = np.array([actual.ROOT], np.intp)
        self._names: list[bytes] = [b""]
        self._blocks = array("q", [0])  # where the names of each directory begin …
        self._parents = array("q", [0])  # … and the row of that directory

    def match_names(self) -> Iterator[str]:
        """Goes through both trees side by side; gives the names that are only in one of them."""
        expected, actual = array("q", [self.expected_tree.ROOT]), array("q", [self.actual_tree.ROOT])
        stack = [0]
        while stack:
            row = stack.pop()
            want = self.expected_tree.children(expected[row])
            have = self.actual_tree.children(actual[row])
            names = list(want)
            if want.keys() != have.keys():
                names = [name for name in names if name in have]
                yield from self._only_in_one(row, want, have)
            first = len(expected)
            self._blocks.append(first)
            self._parents.append(row)
            self._names += names
            expected.extend(map(want.__getitem__, names))
            actual.extend(map(have.__getitem__, names))
            stack += [
                child
                for child in range(first, len(expected))
                if self.expected_tree.is_directory(expected[child])
                and self.actual_tree.is_directory(actual[child])
            ]
        self.expected = np.frombuffer(expected, np.int64).astype(np.intp)
        self.actual = np.frombuffer(actual, np.int64).astype(np.intp)

    def path(self, row: int) -> str:
        """The path of a row, for people."""
        return show_path(self._path(row) or b"/")

    def _path(self, row: int) -> bytes:
        blocks = np.frombuffer(self._blocks, np.int64)
        parts = []
        while row:
            parts.append(self._names[row])
            # A directory without names has a block of no rows; the last one that begins here is the one.
            row = self._parents[int(np.searchsorted(blocks, row, "right")) - 1]
        return b"".join(b"/" + part for part in reversed(parts))

    def _only_in_one(self, row: int, want: dict[bytes, int], have: dict[bytes, int]) -> Iterator[str]:
        above = self._path(row) + b"/"
        for name in sorted(want.keys() ^ have.keys()):
            tree, inode, what = (
                (self.expected_tree, want[name], "missing")
                if name in want
                else (self.actual_tree, have[name], "should not be there")
            )
            yield f"{show_path(above + name)}: {what} ({_kind(tree.mode[inode])})"


def _compare_columns(pairs: _Pairs) -> Iterator[str]:
    for name in _COLUMNS:
        want = column(getattr(pairs.expected_tree, name))[pairs.expected]
        have = column(getattr(pairs.actual_tree, name))[pairs.actual]
        for row in np.flatnonzero(want != have).tolist():
            yield f"{pairs.path(row)}: {_difference(name, int(want[row]), int(have[row]))}"


def _difference(name: str, want: int, have: int) -> str:
    if name == "mode":
        if stat.S_IFMT(want) != stat.S_IFMT(have):
            return f"is a {_kind(have)}, should be a {_kind(want)}"
        return f"mode is {stat.S_IMODE(have):#o}, should be {stat.S_IMODE(want):#o}"
    return f"{name} is {have}, should be {want}"


def _compare_links(pairs: _Pairs) -> Iterator[str]:
    """Which names share an inode: each name must have the same first name in both trees."""
    want, have = _first_rows(pairs.expected), _first_rows(pairs.actual)
    for row in np.flatnonzero(want != have).tolist():
        first_want, first_have = int(want[row]), int(have[row])
        if first_have != row:
            yield f"{pairs.path(row)}: is the same file as {pairs.path(first_have)}, which it should not be"
        if first_want != row:
            yield f"{pairs.path(row)}: is not the same file as {pairs.path(first_want)}, which it should be"


def _first_rows(inodes: Rows) -> Rows:
    _, first, inverse = np.unique(inodes, return_index=True, return_inverse=True)
    return first[inverse]


def _compare_sparse(pairs: _Pairs, what: str, want: dict[int, Any], have: dict[int, Any]) -> Iterator[str]:
    """Compares what few inodes have."""
    if not want and not have:
        return
    concerned = _any_of(pairs.expected, want, len(pairs.expected_tree))
    concerned |= _any_of(pairs.actual, have, len(pairs.actual_tree))
    for row in np.flatnonzero(concerned).tolist():
        wanted, had = want.get(int(pairs.expected[row])), have.get(int(pairs.actual[row]))
        if wanted != had:
            yield f"{pairs.path(row)}: {what} is {_short(had)}, should be {_short(wanted)}"


def _any_of(inodes: Rows, table: dict[int, Any], count: int) -> npt.NDArray[np.bool_]:
    marked = np.zeros(count, np.bool_)
    marked[np.fromiter(table, np.intp, len(table))] = True
    return marked[inodes]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _compare_content(pairs: _Pairs, expected: TreeContent, actual: TreeContent) -> Iterator[str]:
    want_count = column(expected.tree.chunk_count)[pairs.expected]
    have_count = column(actual.tree.chunk_count)[pairs.actual]
    for row in np.flatnonzero(want_count != have_count).tolist():
        yield f"{pairs.path(row)}: has {have_count[row]} chunks, should have {want_count[row]}"
    rows = np.flatnonzero((want_count == have_count) & (want_count > 0))
    if not len(rows):
        return
    counts = want_count[rows].astype(np.intp)
    row_of = np.repeat(rows, counts)
    within = np.arange(len(row_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    want = expected.digests[column(expected.tree.first_chunk)[pairs.expected][row_of] + within]
    have = actual.digests[column(actual.tree.first_chunk)[pairs.actual][row_of] + within]
    for use in np.flatnonzero(want != have).tolist():
        yield f"{pairs.path(int(row_of[use]))}: the content of chunk {within[use]} is different"


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), f"file of the unknown type {stat.S_IFMT(mode):#o}")
