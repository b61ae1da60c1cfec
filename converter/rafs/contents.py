"""What a bootstrap says, whichever version of RAFS it is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from converter.rafs.layout import Compressor, Digester
from converter.rafs.records import BlobRecord
from converter.tree import FileTree

RafsVersion = Literal[5, 6]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a bootstrap says.

    Args:
        version: of RAFS.
        name_count: names in the tree, without the root.
        tree: the files; `chunk_blob` has indexes into `blobs`, `chunk_refs` indexes of chunks in those.
        blobs: the blob table. Of version 5 the fields that it does not have are zero: there is no chunk info
            in a blob, its chunks are in `chunks` only.
        chunks: one row of `layout.CHUNK_RECORD` for each chunk in use; a chunk of a blob comes once.
        compressor: of the chunks.
        digester: of the chunks.
        chunk_size: bytes of a chunk.
        prefetch: paths from the root, each beginning with a slash, whose files a client fetches first; a
            directory stands for all below it. Of an inode with several names it is one of them.
        flags: of the superblock (`layout.SuperFlag`).
    """

    version: RafsVersion
    name_count: int
    tree: FileTree
    blobs: tuple[BlobRecord, ...]
    chunks: npt.NDArray[Any]
    compressor: Compressor
    digester: Digester
    chunk_size: int
    prefetch: tuple[bytes, ...]
    flags: int
