"""Reads bootstraps back, trusting nothing (§3, §5.2 to §5.5, §9).

What is accepted is what `bootstrap` writes, and what the reference builder writes for the same kinds of
image: no batch, encrypted or tarfs images. Every offset is checked before it is used, and what is allocated
is bounded by the size of the input.
"""

from __future__ import annotations

from typing import Final

from converter.errors import BootstrapError
from converter.rafs.chunk_table_reader import read_chunk_table
from converter.rafs.contents import Bootstrap, RafsVersion
from converter.rafs.head_reader import Head, read_head
from converter.rafs.inode_area import InodeArea
from converter.rafs.layout import BLOCK_SIZE, MIN_BOOTSTRAP_SIZE, SuperFlag
from converter.rafs.prefetch_reader import name_inodes
from converter.rafs.tree_reader import read_tree
from converter.rafs5.layout import MAGIC_AND_VERSION
from converter.rafs5.reader import read_bootstrap_v5
from converter.tree import FileTree

_PREFETCH_ENTRY_SIZE: Final = 4
_PREFETCH_ALIGNMENT: Final = 8


def rafs_version(data: bytes | bytearray | memoryview) -> RafsVersion:
    """The version of RAFS that a bootstrap, or its first bytes, is to be read as."""
    return 5 if bytes(data[: len(MAGIC_AND_VERSION)]) == MAGIC_AND_VERSION else 6


def read_bootstrap(data: bytes | bytearray | memoryview) -> Bootstrap:
    """Reads a whole bootstrap, of RAFS v5 or v6.

    Args:
        data: the file.

    Raises:
        BootstrapError: it breaks the format, or uses a part of it that is not supported.
    """
    view = memoryview(data).cast("B")
    if len(view) < MIN_BOOTSTRAP_SIZE:
        raise BootstrapError(f"a bootstrap cannot have {len(view)} bytes")
    if rafs_version(view) == 5:
        return read_bootstrap_v5(view)
    if len(view) % BLOCK_SIZE:
        raise BootstrapError(f"a bootstrap of RAFS v6 cannot have {len(view)} bytes")
    head = read_head(view)
    chunks = read_chunk_table(view, head.extended, head.blobs)
    area = InodeArea(view, head.metadata)
    tree, numbers = read_tree(area, head.names, chunks, head.extended.chunk_size)
    if tree.xattrs and not head.extended.flags & SuperFlag.HAS_XATTR:
        raise BootstrapError("there are extended attributes, but the superblock says there are none")
    return Bootstrap(
        version=6,
        name_count=head.names,
        tree=tree,
        blobs=head.blobs,
        chunks=chunks,
        compressor=head.compressor,
        digester=head.digester,
        chunk_size=head.extended.chunk_size,
        prefetch=_read_prefetch_table(view, head, tree, numbers),
        flags=head.extended.flags,
    )


def _read_prefetch_table(
    view: memoryview, head: Head, tree: FileTree, numbers: dict[int, int]
) -> tuple[bytes, ...]:
    """Reads the prefetch table, which ends at its first zero (§3.5)."""
    offset, size = head.extended.prefetch_table_offset, head.extended.prefetch_table_size
    if not size:
        return ()
    if offset < BLOCK_SIZE or offset % _PREFETCH_ALIGNMENT or size % _PREFETCH_ENTRY_SIZE:
        raise BootstrapError(f"the prefetch table of {size} bytes begins at {offset}")
    if offset + size > len(view):
        raise BootstrapError(f"the prefetch table of {size} bytes at {offset} is not inside the file")
    nids = view[offset : offset + size].cast("I").tolist()
    used = nids[: nids.index(0)] if 0 in nids else nids
    if any(nids[len(used) :]):
        raise BootstrapError("the prefetch table goes on behind its end")
    for nid in used:
        if nid not in numbers:
            raise BootstrapError(f"the prefetch table names the nid {nid}, which no name leads to")
    return name_inodes(tree, (numbers[nid] for nid in used))


__all__ = ["Bootstrap", "rafs_version", "read_bootstrap"]
