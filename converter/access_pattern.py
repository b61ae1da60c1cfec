"""Turns what nydusd recorded of the files that were read into a list of paths to prefetch.

nydusd 2.2 with `access_pattern` in its `rafs` configuration answers `/api/v1/metrics/pattern` with a JSON
list in no order: of each file that was read the inode number, the reads, and the time of the first one
(nydus-utils 0.4.1, src/metrics.rs). Numbers mean files of the bootstrap that was mounted, and of no other.
"""

from __future__ import annotations

import json
import os
from typing import Final

from converter.prefetch import TraceError
from converter.rafs.chunk_table_reader import read_chunk_table
from converter.rafs.head_reader import read_head
from converter.rafs.inode_area import InodeArea
from converter.rafs.listing import list_names
from converter.rafs.prefetch_reader import name_inodes
from converter.rafs.reader import rafs_version, read_bootstrap
from converter.rafs.tree_reader import read_tree
from converter.rafs5.layout import ROOT_INO
from converter.rafs5.names import number_names
from converter.tree import FileTree

_FIELDS: Final = ("first_access_time_secs", "first_access_time_nanos", "ino")


def read_access_pattern(pattern: bytes, bootstrap: bytes) -> tuple[str, ...]:
    """The paths of the files that were read, in the order of their first reads.

    Args:
        pattern: what nydusd answered.
        bootstrap: the one that it had mounted, of RAFS v5 or v6.

    Returns:
        Paths as `ConvertOptions.prefetch` wants them. Of a file with several names it is one of them.

    Raises:
        TraceError: not what nydusd answers, of another image, or of no read at all.
        BootstrapError: the bootstrap breaks the format.
    """
    found = sorted(_parse(pattern))
    if not found:
        raise TraceError(
            "the access pattern names no file: nothing was read, or nydusd ran without access_pattern"
        )
    tree, numbers = _numbered(bootstrap)
    inodes = []
    for *_, number in found:
        inode = numbers.get(number)
        if inode is None:
            raise TraceError(f"the access pattern names the inode {number}, so it is of another image")
        inodes.append(inode)
    return tuple(os.fsdecode(path) for path in name_inodes(tree, inodes))


def _parse(pattern: bytes) -> list[tuple[int, ...]]:
    try:
        document = json.loads(pattern)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"the access pattern is not JSON: {error}") from error
    if not isinstance(document, list):
        raise TraceError("the access pattern is not a list, so it is not what nydusd answers")
    records = []
    for item in document:
        values = [item.get(name) if isinstance(item, dict) else None for name in _FIELDS]
        if not all(type(value) is int for value in values):
            raise TraceError(f"the access pattern lacks one of {', '.join(_FIELDS)}: {str(item)[:100]}")
        records.append(tuple(int(str(value)) for value in values))
    return records


def _numbered(data: bytes) -> tuple[FileTree, dict[int, int]]:
    """The tree of a bootstrap, and its inodes by the numbers that nydusd gives them."""
    bootstrap = read_bootstrap(data)  # checks everything
    if rafs_version(data) == 5:
        inodes = number_names(bootstrap.tree, list_names(bootstrap.tree)).inode
        numbers = {row + ROOT_INO: inode for row, inode in enumerate(inodes.tolist())}
        return bootstrap.tree, numbers
    view = memoryview(data)
    head = read_head(view)
    chunks = read_chunk_table(view, head.extended, head.blobs)
    return read_tree(InodeArea(view, head.metadata), head.names, chunks, head.extended.chunk_size)
