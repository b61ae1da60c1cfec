"""Reads the layers of a source image for comparison: their trees, and a digest of each piece of content."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from converter.decompress import decompress
from converter.layer_tree import LayerTree
from converter.limits import check_chunk_refs
from converter.oci import Digest
from converter.rafs.nodes import column
from converter.read_ahead import ReadAhead
from converter.tar import ByteSource, Entry, TarReader
from converter.tree import FileTree
from converter.tree_compare import DIGEST, Digests, TreeContent


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """A layer of the source.

    Args:
        tree: its files; `chunk_refs` are positions among the pieces of all layers, `chunk_blob` is 0.
        diff_id: digest of its tar.
        file_size: bytes of all its regular files.
        pieces: which of all pieces are the content of its entries, replaced ones included.
    """

    tree: FileTree
    diff_id: Digest
    file_size: int
    pieces: slice


class SourcePieces:
    """The content of all layers in pieces: what is remembered of each is its BLAKE3.

    Args:
        piece_size: bytes of a piece; the last one of a file is shorter.
    """

    def __init__(self, piece_size: int) -> None:
        self._zeros = bytes(piece_size)
        self._zeros_digest = blake3(self._zeros).digest()
        self._digests = bytearray()
        self._sizes = array("I")

    def content(self, tree: FileTree) -> TreeContent:
        """A tree with the digests of its content."""
        return TreeContent(tree, np.frombuffer(self._digests, DIGEST)[column(tree.chunk_refs)])

    def distinct(self, layer: SourceLayer) -> tuple[Digests, npt.NDArray[np.uint32]]:
        """BLAKE3 and size of the pieces of a layer, each once, in the order of their first use."""
        digests = np.frombuffer(self._digests, DIGEST)[layer.pieces]
        first = np.sort(np.unique(digests, return_index=True)[1])
        return digests[first], column(self._sizes)[layer.pieces][first]

    def read_layer(self, stream: BinaryIO) -> SourceLayer:
        """Reads a layer as it is stored, to its end.

        Raises:
            InvalidLayerError: the layer is damaged, or cannot be unpacked safely.
            LimitExceededError: it has too much of all.
            Exception: what the stream raises.
        """
        layer = LayerTree()
        file_size = 0
        start = len(self._sizes)
        with ReadAhead(lambda: decompress(stream)) as blocks:
            reader = TarReader(ByteSource(iter(blocks)))
            for entry in reader:
                inode = layer.add(entry)
                if inode is not None and entry.size:
                    self._read_file(layer.tree, inode, entry, reader)
                    file_size += entry.size
            layer.finish()
            pieces = slice(start, len(self._sizes))
            return SourceLayer(layer.tree, blocks.digest(), file_size, pieces)

    def _read_file(self, tree: FileTree, inode: int, entry: Entry, reader: TarReader) -> None:
        first, count = len(tree.chunk_refs), -(-entry.size // len(self._zeros))
        check_chunk_refs(first + count)
        start = len(self._sizes)
        for piece in reader.content(self._zeros):
            self._digests += self._zeros_digest if piece is self._zeros else blake3(piece).digest()
            self._sizes.append(len(piece))
        tree.chunk_refs.extend(range(start, start + count))
        tree.chunk_blob.extend(bytes(count))
        tree.set_chunks(inode, first, count)
