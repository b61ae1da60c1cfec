"""What the converter's own reader makes of a bootstrap and its blobs, in the form of the other readers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from converter.nydus_image import decode_chunk, stored_chunk
from converter.rafs.reader import Bootstrap
from tests.reader_tree import snapshot_of
from tests.trees import Tree


def by_reader(bootstrap: Bootstrap, blobs: Path, contents: Contents | None = None) -> Tree:
    """The whole tree, each chunk compared with its digest.

    Args:
        bootstrap: what was read.
        blobs: directory with the blobs, by their ids.
        contents: reads files; not needed where the blobs have their chunks themselves.
    """
    contents = contents or Contents(bootstrap, blobs)
    return snapshot_of(bootstrap.tree, contents.sha256)


class Contents:
    """The content of files, from blobs in a directory."""

    def __init__(self, bootstrap: Bootstrap, blobs: Path) -> None:
        self._bootstrap = bootstrap
        keys = zip(bootstrap.chunks["blob_index"].tolist(), bootstrap.chunks["index"].tolist(), strict=True)
        self._row = {key: row for row, key in enumerate(keys)}
        self._blobs = [np.memmap(blobs / blob.blob_id.decode(), np.uint8) for blob in bootstrap.blobs]

    def sha256(self, inode: int) -> str:
        """SHA-256 of the content of a regular file."""
        tree = self._bootstrap.tree
        digest = hashlib.sha256()
        first = tree.first_chunk[inode]
        for place in range(first, first + tree.chunk_count[inode]):
            row = self._row[tree.chunk_blob[place], tree.chunk_refs[place]]
            chunk = stored_chunk(self._bootstrap.chunks[row])
            stored = self._blobs[chunk.blob][chunk.offset : chunk.offset + chunk.stored_size].tobytes()
            digest.update(decode_chunk(stored, chunk, self._bootstrap.blobs[chunk.blob]))
        return digest.hexdigest()
