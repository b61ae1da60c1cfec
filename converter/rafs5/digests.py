"""The digests of inodes, which make a Merkle tree over content, but not over names and metadata (§9.4).

A regular file's is over the digests of its chunks, a symlink's over its target, a directory's over the
digests of what its names mean, in their order, and any other's over nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from converter.chunk_digest import digest_function
from converter.rafs.layout import Digester
from converter.rafs.nodes import Nodes
from converter.rafs5.names import Names
from converter.tree import FileTree

_SIZE = 32


def inode_digests(
    tree: FileTree,
    nodes: Nodes,
    names: Names,
    chunk_digests: npt.NDArray[np.void],
    digester: Digester,
) -> npt.NDArray[np.void]:
    """The digest of every inode that has a name.

    Args:
        tree: the tree.
        nodes: its inodes.
        names: its names.
        chunk_digests: of every use of a chunk: files in the order of `nodes`, each from its start.
        digester: the algorithm.

    Returns:
        32 bytes for each inode of the tree; zeros for one that has no name.
    """
    digest = digest_function(digester)
    digests = np.zeros(len(tree), f"V{_SIZE}")
    digests[nodes.inode] = np.void(digest(b""))
    content = memoryview(chunk_digests.tobytes())
    ends = np.cumsum(nodes.chunk_count, dtype=np.int64) * _SIZE
    for row in np.flatnonzero(nodes.chunk_count).tolist():
        start = int(ends[row]) - int(nodes.chunk_count[row]) * _SIZE
        digests[nodes.inode[row]] = np.void(digest(bytes(content[start : int(ends[row])])))
    for inode in nodes.inode[nodes.file_type == 0o12].tolist():
        digests[inode] = np.void(digest(tree.symlink_target[inode]))
    # A directory comes before those in it, so backwards its children are done when it is its turn.
    first = (names.first_child - 1).tolist()
    children = names.children.tolist()
    for number in range(len(first) - 1, -1, -1):
        below = names.inode[first[number] : first[number] + children[number]]
        directory = names.inode[names.directories[number]]
        digests[directory] = np.void(digest(digests[below].tobytes()))
    return digests
