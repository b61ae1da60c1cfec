"""Reads the layers of a source image for comparison: their trees, and a digest of each piece of content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from blake3 import blake3

from converter.decompress import decompress
from converter.layer_tree import LayerTree
from converter.limits import check_chunk_refs
from converter.oci import Digest
from converter.rafs.nodes import column
from converter.read_ahead import ReadAhead
from converter.tar import ByteSource, Entry, TarReader
from converter.tree import FileTree
from converter.tree_compare import DIGEST, TreeContent


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """A layer of the source.

    Args:
        tree: its files; `chunk_refs` are positions among the pieces of all layers, `chunk_blob` is 0.
        diff_id: digest of its tar.
        file_size: bytes of all its regular files.
    """

    tree: FileTree
    diff_id: Digest
    file_size: int


class SourcePieces:
    """The content of all layers in pieces: what is remembered of each is its BLAKE3.

    Args:
        piece_size: bytes of a piece; the last one of a file is shorter.
    """

    def __init__(self, piece_size: int) -> None:
        self._zeros = bytes(piece_size)
        self._zeros_digest = blake3(self._zeros).digest()
        self._digests = bytearray()

    def content(self, tree: FileTree) -> TreeContent:
        """A tree with the digests of its content."""
        return TreeContent(tree, np.frombuffer(self._digests, DIGEST)[column(tree.chunk_refs)])

    def read_layer(self, stream: BinaryIO) -> SourceLayer:
        """Reads a layer as it is stored, to its end.

        Raises:
            InvalidLayerError: the layer is damaged, or cannot be unpacked safely.
            LimitExceededError: it has too much of all.
            Exception: what the stream raises.
        """
        layer = LayerTree()
        file_size = 0
        with ReadAhead(lambda: decompress(stream)) as blocks:
            reader = TarReader(ByteSource(iter(blocks)))
            for entry in reader:
                inode = layer.add(entry)
                if inode is not None and entry.size:
                    self._read_file(layer.tree, inode, entry, reader)
                    file_size += entry.size
            layer.finish()
            return SourceLayer(layer.tree, blocks.digest(), file_size)

    def _read_file(self, tree: FileTree, inode: int, entry: Entry, reader: TarReader) -> None:
        first, count = len(tree.chunk_refs), -(-entry.size // len(self._zeros))
        check_chunk_refs(first + count)
        start = len(self._digests) // DIGEST.itemsize
        for piece in reader.content(self._zeros):
            self._digests += self._zeros_digest if piece is self._zeros else blake3(piece).digest()
        tree.chunk_refs.extend(range(start, start + count))
        tree.chunk_blob.extend(bytes(count))
        tree.set_chunks(inode, first, count)
