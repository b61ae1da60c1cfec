"""How much of one layer or image is remembered at most.

A few kilobytes of a layer can ask for gigabytes: a tar compresses to a thousandth, each path in it can mean
two thousand directories, a sparse file can have any size, and a manifest can name a layer as often as it
likes.
"""

from __future__ import annotations

from typing import Final

from converter.errors import LimitExceededError
from converter.rafs.layout import MAX_CHUNK_INDEX
from converter.tree import FileTree

# Chunks of all files together, repeated ones included: 16 TiB of files at the usual chunk size.
MAX_CHUNK_REFS: Final = MAX_CHUNK_INDEX + 1
# Eight million files, or four million directories, with paths of ordinary length.
MAX_MEMORY_BYTES: Final = 4 << 30
# What things take, columns and tables of the bootstrap included, as measured with CPython 3.11.
ENTRY_BYTES: Final = 400
DIRECTORY_BYTES: Final = 850
XATTR_BYTES: Final = 200  # and three times the bytes of its name and value, which the bootstrap has once more


def count_memory(tree: FileTree, size: int) -> None:
    """Counts memory that a tree takes, or will take when it is written.

    Args:
        tree: of a layer or an image.
        size: bytes, an estimate.

    Raises:
        LimitExceededError: they are too many.
    """
    tree.memory_bytes += size
    if tree.memory_bytes > MAX_MEMORY_BYTES:
        raise LimitExceededError(
            f"names and metadata of all files would take more than {MAX_MEMORY_BYTES} bytes of memory"
        )


def check_chunk_refs(count: int) -> None:
    """Checks the number of chunks of all files of a layer or an image together.

    Raises:
        LimitExceededError: there are too many.
    """
    if count > MAX_CHUNK_REFS:
        raise LimitExceededError(
            f"the files have {count} chunks together, more than {MAX_CHUNK_REFS}; larger chunks may help"
        )
