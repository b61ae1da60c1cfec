"""Converting a layer in a test, and reading the result back."""

from __future__ import annotations

import io
from pathlib import Path

from converter.blob import BlobReader
from converter.layer import ConvertedLayer, convert_layer
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from converter.tree import FileTree


def convert(data: bytes, spool: Path, options: ConvertOptions | None = None) -> ConvertedLayer:
    """Converts a layer that lies in memory."""
    return convert_layer(io.BytesIO(data), spool, options or ConvertOptions(), NO_PROGRESS)


def paths(tree: FileTree) -> dict[bytes, int]:
    """The inode of every path but the root's."""
    known = {tree.ROOT: b""}
    found = {}
    for directory, name, inode in tree.walk():
        path = known[directory] + name
        found[path] = inode
        known[inode] = path + b"/"
    return found


def contents(layer: ConvertedLayer) -> dict[bytes, bytes]:
    """What the blob holds of every regular file, by path, each chunk checked against its digest."""
    tree = layer.tree
    with layer.blob.path.open("rb") as file:
        reader = BlobReader(file)
        table = reader.chunk_table()
        found = {}
        for path, inode in paths(tree).items():
            if tree.mode[inode] >> 12 == 0o10:
                first = tree.first_chunk[inode]
                refs = tree.chunk_refs[first : first + tree.chunk_count[inode]]
                found[path] = b"".join(reader.chunk(table, ref) for ref in refs)
                assert len(found[path]) == tree.size[inode]
    return found
