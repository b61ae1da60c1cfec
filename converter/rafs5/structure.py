"""How the inodes of a RAFS v5 bootstrap hang together: directories, hardlinks, digests (§9.3, §9.4).

All functions raise BootstrapError where they do not.
"""

from __future__ import annotations

import stat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.chunk_digest import digest_function
from converter.errors import BootstrapError
from converter.rafs.layout import Digester
from converter.rafs.listing import Int64s
from converter.rafs5.layout import ROOT_INO
from converter.rafs5.records_reader import Records

_SAME_FOR_ALL_NAMES: Final = (
    "digest", "uid", "gid", "mode", "size", "nlink", "child_count", "rdev", "mtime", "mtime_nsec",
)  # fmt: skip


def find_parents(inodes: npt.NDArray[Any]) -> Int64s:
    """The row of the directory of each row; -1 for the root.

    A directory's children have consecutive numbers behind its own, so there are no cycles, and no row can be
    in two directories.
    """
    count = len(inodes)
    directories = np.flatnonzero(inodes["mode"] >> 12 == stat.S_IFDIR >> 12)
    sizes = inodes["child_count"][directories].astype(np.int64)
    directories, sizes = directories[sizes > 0], sizes[sizes > 0]
    first = inodes["child_index"][directories].astype(np.int64) - ROOT_INO
    order = np.argsort(first)
    ends = (first + sizes)[order]
    expected = np.concatenate((np.ones(1, np.int64), ends))[:-1] if len(ends) else ends
    if inodes["mode"][0] >> 12 != stat.S_IFDIR >> 12:
        raise BootstrapError("the root is not a directory")
    if (first[order] != expected).any() or (ends[-1] if len(ends) else 1) != count:
        raise BootstrapError("an inode is in two directories, or in none")
    if (first <= directories).any():
        raise BootstrapError("a directory has a child with a lower number than its own")
    parents = np.concatenate((np.array([-1]), np.repeat(directories[order], sizes[order])))
    claimed = np.concatenate((np.zeros(1, np.uint64), inodes["ino"][parents[1:]]))
    if (inodes["parent"] != claimed).any():
        raise BootstrapError("an inode says that it is in another directory than the one it is in")
    return parents


def number_inodes(records: Records, expected: int) -> Int64s:
    """The number in the tree of each row: rows with the same `ino` are names of one inode."""
    inodes = records.inodes
    if (inodes["ino"] < ROOT_INO).any() or (inodes["ino"] > len(inodes)).any():
        raise BootstrapError("an inode has a number that the inode table does not have")
    first = inodes["ino"].astype(np.int64) - ROOT_INO
    rows = np.arange(len(inodes))
    more = np.flatnonzero(first != rows)
    if (first[first] != first).any() or (first > rows).any():
        raise BootstrapError("an inode has the number of one that has another number itself")
    if (inodes["mode"][more] >> 12 == stat.S_IFDIR >> 12).any():
        raise BootstrapError("a directory has two names")
    for name in _SAME_FOR_ALL_NAMES:
        if (inodes[name][more] != inodes[name][first[more]]).any():
            raise BootstrapError(f"the names of an inode do not agree on its {name}")
    own = first == rows
    if np.count_nonzero(own) - 1 != expected:
        raise BootstrapError(
            f"there are {np.count_nonzero(own) - 1} inodes below the root, the superblock says {expected}"
        )
    _check_more_names(records, more, first)
    return (np.cumsum(own) - 1)[first]


def _check_more_names(records: Records, more: Int64s, first: Int64s) -> None:
    """Checks that what follows the inode is the same for each of its names."""
    starts = np.cumsum(records.chunk_counts) - records.chunk_counts
    for row in more.tolist():
        other = int(first[row])
        chunks, others = (
            records.chunks[starts[r] : starts[r] + records.chunk_counts[r]] for r in (row, other)
        )
        if (
            chunks.tobytes() != others.tobytes()
            or records.targets.get(row) != records.targets.get(other)
            or records.xattrs.get(row) != records.xattrs.get(other)
        ):
            raise BootstrapError("the names of an inode do not agree on what is in it")


def check_digests(records: Records, digester: Digester) -> None:
    """Compares the digests of all inodes; the children of a directory come behind it (§9.4)."""
    digest = digest_function(digester)
    nothing = digest(b"")
    inodes = records.inodes
    stored = inodes["digest"].tobytes()
    chunk_digests = np.ascontiguousarray(records.chunks["digest"]).tobytes()
    ends = np.cumsum(records.chunk_counts)
    starts = (ends - records.chunk_counts).tolist()
    for row, (kind, child, count, start, end) in enumerate(
        zip(
            (inodes["mode"] >> 12).tolist(), inodes["child_index"].tolist(), inodes["child_count"].tolist(),
            starts, ends.tolist(), strict=True,
        )
    ):  # fmt: skip
        if kind == stat.S_IFDIR >> 12:
            content = stored[32 * (child - 1) : 32 * (child - 1 + count)] if count else b""
        elif kind == stat.S_IFREG >> 12:
            content = chunk_digests[32 * start : 32 * end]
        else:
            content = records.targets.get(row, b"")
        expected = digest(content) if content else nothing
        if stored[32 * row : 32 * row + 32] != expected:
            raise BootstrapError(f"inode {row + 1} does not match its digest")
