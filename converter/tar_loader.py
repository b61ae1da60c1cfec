"""Reads the tar of a layer into a file tree, and tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, Protocol

from converter.blob_pool import ChunkUse
from converter.decompress import Readable
from converter.layer_tree import LayerTree
from converter.limits import check_chunk_refs
from converter.progress import Progress
from converter.read_ahead import ReadAhead
from converter.tar import ByteSource, Entry, TarReader

STAGE: Final = "layer"
_PROGRESS_INTERVAL_S: Final = 0.2


class ChunkSink(Protocol):
    """Takes file content chunk by chunk."""

    @property
    def zeros(self) -> bytes:
        """A chunk of zeros; its length is the size of chunks."""

    def add(self, chunk: bytes) -> ChunkUse:
        """Takes a chunk, and tells which one it is."""


class CountingReader:
    """Counts what is read of a stream."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes of the stream."""
        data = self._stream.read(size)
        self.size += len(data)
        return data


class TarLoader:
    """Puts the entries of a tar into a tree, and their content into chunks.

    Args:
        chunks: takes the content of all files.

    Attributes:
        tree: the files so far.
        count: entries so far.
        file_size: bytes of all regular files so far.
    """

    def __init__(self, chunks: ChunkSink) -> None:
        self._chunks = chunks
        self._layer = LayerTree()
        self.tree = self._layer.tree
        self.count = 0
        self.file_size = 0

    def load(self, blocks: Iterator[bytes]) -> None:
        """Uses up a tar."""
        reader = TarReader(ByteSource(blocks))
        for entry in reader:
            self.count += 1
            inode = self._layer.add(entry)
            if inode is not None and entry.size:
                self._store(inode, entry, reader)
        self._layer.finish()

    def _store(self, inode: int, entry: Entry, reader: TarReader) -> None:
        chunks, blobs, refs = self._chunks, self.tree.chunk_blob, self.tree.chunk_refs
        first = len(refs)
        check_chunk_refs(first + -(-entry.size // len(chunks.zeros)))
        for blob, index in self._uses(reader):
            blobs.append(blob)
            refs.append(index)
        self.tree.set_chunks(inode, first, len(refs) - first)
        self.file_size += entry.size

    def _uses(self, reader: TarReader) -> Iterator[ChunkUse]:
        """The chunks of the file that the reader is at."""
        return map(self._chunks.add, reader.content(self._chunks.zeros))


def reporting(blocks: ReadAhead, stored: CountingReader, progress: Progress) -> Iterator[bytes]:
    """Passes blocks on and tells how far the reading is."""
    next_time = 0.0
    for block in blocks:
        now = time.monotonic()
        if now >= next_time:
            progress.advance(STAGE, stored.size, None)
            next_time = now + _PROGRESS_INTERVAL_S
        yield block
    progress.advance(STAGE, stored.size, None)
