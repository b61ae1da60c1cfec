"""Trees and blobs made by hand, for the tests of bootstraps."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict, Unpack

from blake3 import blake3

from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import BlobFeature, Compressor
from converter.tree import FileTree

CHUNK_SIZE: Final = 1 << 20


@dataclass
class Chunks:
    """Stored chunks, as the writer of a blob would record them."""

    digests: bytearray = field(default_factory=bytearray)
    uncompressed_size: array[int] = field(default_factory=lambda: array("I"))
    compressed_size: array[int] = field(default_factory=lambda: array("I"))
    uncompressed_offset: array[int] = field(default_factory=lambda: array("Q"))
    compressed_offset: array[int] = field(default_factory=lambda: array("Q"))
    end: int = 0
    compressed_end: int = 0

    def add(self, content: bytes, compressed_size: int | None = None) -> int:
        """Appends a chunk and returns its index."""
        stored = len(content) if compressed_size is None else compressed_size
        self.digests += blake3(content).digest()
        self.uncompressed_size.append(len(content))
        self.compressed_size.append(stored)
        self.uncompressed_offset.append(self.end)
        self.compressed_offset.append(self.compressed_end)
        self.end += -(-len(content) // 4096) * 4096
        self.compressed_end += stored
        return len(self.uncompressed_size) - 1


def blob_info(chunks: Chunks, blob_id: str = "b" * 64) -> BlobInfo:
    """A blob of these chunks, stored the plain way: chunks, chunk info, header."""
    count = len(chunks.uncompressed_size)
    return BlobInfo(
        blob_id=blob_id,
        compressor=Compressor.NONE,
        features=BlobFeature.ALIGNED | BlobFeature.CAP_TAR_TOC,
        compressed_size=chunks.compressed_end + 16 * count + 4096,
        uncompressed_size=chunks.end,
        ci_compressor=Compressor.NONE,
        ci_offset=chunks.compressed_end,
        ci_compressed_size=16 * count,
        ci_uncompressed_size=16 * count,
        chunks=chunks,
    )


class Metadata(TypedDict, total=False):
    """What a tree's `add_inode` and `set_metadata` have in common."""

    uid: int
    gid: int
    mtime_s: int
    mtime_ns: int


class TreeBuilder:
    """Builds a tree by paths; directories that were not added are implicit, as in a tar."""

    def __init__(self, chunk_size: int = CHUNK_SIZE) -> None:
        self.tree = FileTree()
        self.chunks = Chunks()
        self.chunk_size = chunk_size

    def directory(self, path: bytes, mode: int = 0o755, **metadata: Unpack[Metadata]) -> int:
        inode = self._implicit(path)
        self.tree.set_metadata(inode, mode=stat.S_IFDIR | mode, **metadata)
        return inode

    def file(
        self,
        path: bytes,
        content: bytes = b"",
        mode: int = 0o644,
        blob: int = 0,
        **metadata: Unpack[Metadata],
    ) -> int:
        inode = self.tree.add_inode(mode=stat.S_IFREG | mode, size=len(content), **metadata)
        pieces = [content[at : at + self.chunk_size] for at in range(0, len(content), self.chunk_size)]
        first = len(self.tree.chunk_refs)
        self.tree.chunk_refs.extend(self.chunks.add(piece) for piece in pieces)
        self.tree.chunk_blob.extend([blob] * len(pieces))
        self.tree.set_chunks(inode, first, len(pieces))
        return self._link(path, inode)

    def symlink(self, path: bytes, target: bytes, **metadata: Unpack[Metadata]) -> int:
        inode = self.tree.add_inode(mode=stat.S_IFLNK | 0o777, size=len(target), **metadata)
        self.tree.symlink_target[inode] = target
        return self._link(path, inode)

    def special(self, path: bytes, mode: int, rdev: int = 0) -> int:
        return self._link(path, self.tree.add_inode(mode=mode, rdev=rdev))

    def hardlink(self, path: bytes, inode: int) -> int:
        return self._link(path, inode)

    def xattrs(self, inode: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.tree.xattrs[inode] = tuple(sorted(pairs))

    def whiteout(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        self.tree.hide(self._implicit(parent), name)

    def opaque(self, path: bytes) -> None:
        self.tree.opaque.add(self._implicit(path))

    def blob(self, blob_id: str = "b" * 64, features: BlobFeature | None = None) -> BlobInfo:
        info = blob_info(self.chunks, blob_id)
        return info if features is None else replace(info, features=info.features | features)

    def _link(self, path: bytes, inode: int) -> int:
        parent, _, name = path.rpartition(b"/")
        self.tree.link(self._implicit(parent), name, inode)
        return inode

    def _implicit(self, path: bytes) -> int:
        inode = self.tree.ROOT
        for name in filter(None, path.split(b"/")):
            child = self.tree.lookup(inode, name)
            if child is None:
                child = self.tree.add_inode(mode=stat.S_IFDIR | 0o755, explicit=False)
                self.tree.link(inode, name, child)
            inode = child
        return inode
