"""What the converter's own reader makes of a bootstrap and its blobs, in the form of the other readers."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from pathlib import Path

import numpy as np

from converter.nydus_image import decode_chunk, stored_chunk
from converter.rafs.reader import Bootstrap
from tests.trees import KINDS, Node, Tree


def by_reader(bootstrap: Bootstrap, blobs: Path, contents: Contents | None = None) -> Tree:
    """The whole tree, each chunk compared with its digest.

    Args:
        bootstrap: what was read.
        blobs: directory with the blobs, by their ids.
        contents: reads files; not needed where the blobs have their chunks themselves.
    """
    tree = bootstrap.tree
    names: dict[int, list[bytes]] = defaultdict(list)
    paths = {tree.ROOT: b""}
    for directory, name, inode in tree.walk():
        path = paths[directory] + b"/" + name
        paths[inode] = path
        names[inode].append(path[1:])
    names[tree.ROOT] = [b"."]
    contents = contents or Contents(bootstrap, blobs)
    nodes: Tree = {}
    for inode, group in names.items():
        is_directory = tree.is_directory(inode)
        below = sum(map(tree.is_directory, tree.children(inode).values())) if is_directory else 0
        links = 2 + below if is_directory else len(group)
        kind = KINDS[stat.S_IFMT(tree.mode[inode])]
        node = Node(
            kind=kind,
            mode=stat.S_IMODE(tree.mode[inode]),
            uid=tree.uid[inode],
            gid=tree.gid[inode],
            mtime_s=tree.mtime_s[inode],
            size=tree.size[inode],
            links=links,
            stat_links=links,
            target=tree.symlink_target.get(inode, b""),
            group=min(group) if len(group) > 1 else b"",
            device=_device(tree.rdev[inode]),
            xattrs=tuple((os.fsdecode(name), value) for name, value in tree.xattrs.get(inode, ())),
            sha256=contents.sha256(inode) if kind == "file" else "",
        )
        nodes.update(dict.fromkeys(group, node))
    return nodes


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


def _device(encoded: int) -> int:
    """A device number of the kernel (Linux `include/linux/kdev_t.h`, new_decode_dev) as `stat` shows it."""
    return os.makedev((encoded & 0xFFF00) >> 8, (encoded & 0xFF) | ((encoded >> 12) & 0xFFF00))
