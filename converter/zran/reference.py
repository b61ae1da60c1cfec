"""A layer of the source that stays the data of a converted image, cut into segments for the chunk list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from converter.chunk_manifest.chunk_list import ChunkListWriter, Segment, SegmentKind
from converter.decompress import Readable
from converter.oci import Digest

SEGMENT_SIZE: Final = 256 << 10  # a quarter of what a client fetches at a time; 40 bytes of list for each


@dataclass(frozen=True, slots=True)
class LayerReference:
    """A layer that is referred to.

    Args:
        digest: of the layer, which is the name of its blob.
        size: of the layer in bytes.
        compressor: "gzip" or "none".
        chunk_list: the whole chunk list of the layer.
    """

    digest: Digest
    size: int
    compressor: str
    chunk_list: bytes


class SegmentReader:
    """Passes a stream on and hashes it in segments of equal length.

    They are no chunks of the image, which lie across each other in a gzip file, so the list calls them other
    content.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._writer = ChunkListWriter()
        self._hash = hashlib.sha256()
        self._filled = 0
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes of the stream."""
        data = self._stream.read(size)
        rest = memoryview(data)
        while rest:
            piece = rest[: SEGMENT_SIZE - self._filled]
            self._hash.update(piece)
            self._filled += len(piece)
            if self._filled == SEGMENT_SIZE:
                self._end_segment()
            rest = rest[len(piece) :]
        self.size += len(data)
        return data

    def chunk_list(self, layer: Digest) -> bytes:
        """The chunk list, once the stream is read to its end."""
        if self._filled:
            self._end_segment()
        return self._writer.finish(layer)

    def _end_segment(self) -> None:
        self._writer.add(Segment(self._filled, SegmentKind.OTHER, self._hash.digest()))
        self._hash = hashlib.sha256()
        self._filled = 0
