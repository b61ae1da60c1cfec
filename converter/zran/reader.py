"""Reads chunks out of a gzip layer by its index."""

from __future__ import annotations

from typing import BinaryIO

from converter.blob.chunk_info_v2 import GzipWindows
from converter.errors import BlobError
from converter.oci import Digest
from converter.zran.inflate import inflate_context, stored_range


class GzipLayerReader:
    """A gzip layer with its index. Chunks are best read in their order: one inflate context is kept.

    Args:
        digest: of the layer, for errors.
        layer: as stored, seekable.
        windows: its index.
    """

    def __init__(self, digest: Digest, layer: BinaryIO, windows: GzipWindows) -> None:
        self._digest = digest
        self._layer = layer
        self._windows = windows
        self._kept: tuple[int, bytes] | None = None

    def chunk(self, index: int, size: int) -> bytes:
        """The content of a chunk, not compared with its digest.

        Args:
            index: of the chunk.
            size: bytes of its content.

        Raises:
            BlobError: the layer and the index do not go together.
        """
        windows = self._windows
        if index >= len(windows.context):
            raise BlobError(f"the index of {self._digest} has {len(windows.context)} chunks, not {index + 1}")
        context, offset = int(windows.context[index]), int(windows.offset[index])
        if self._kept is None or self._kept[0] != context:
            start, length = stored_range(windows, context)
            self._layer.seek(start)
            try:
                self._kept = context, inflate_context(windows, context, self._layer.read(length))
            except BlobError as error:
                raise BlobError(f"layer {self._digest}: {error}") from error
        return self._kept[1][offset : offset + size]
