"""Makes the index of one layer, whose data stay where they are."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from converter.blob.chunk_table import ChunkTable
from converter.blob.layer_blob import LayerBlob
from converter.blob.layout import CHUNK_ALIGNMENT
from converter.blob.spool_file import SpoolFile
from converter.blob.writer import BlobWriter
from converter.blob_pool import ChunkUse
from converter.chunk_digest import digest_function
from converter.decompress import Compression, StoredInput
from converter.errors import InvalidLayerError
from converter.image_form import DIGESTER
from converter.layer import ConvertedLayer, LayerStats
from converter.oci import Descriptor, Digest
from converter.options import ConvertOptions
from converter.progress import Progress
from converter.rafs.layout import round_up
from converter.read_ahead import ReadAhead
from converter.tar import TarReader
from converter.tar_loader import CountingReader, TarLoader, reporting
from converter.tree import FileTree
from converter.zran.contexts import ChunkInfo, gzip_chunk_info, plain_chunk_info
from converter.zran.errors import NotReferenceableError
from converter.zran.gzip_index import GzipIndex
from converter.zran.index_blob import write_index_blob
from converter.zran.reference import LayerReference, SegmentReader


@dataclass(frozen=True, slots=True)
class IndexedLayer:
    """A layer and its index, before it is written.

    Args:
        tree: its files, with references to `table`.
        table: its chunks.
        info: the chunk info table that tells where they are; None without chunks.
        uncompressed_size: of the chunks' address space.
        reference: the layer as it is stored.
        diff_id: digest of the uncompressed tar.
        stats: counts.
    """

    tree: FileTree
    table: ChunkTable
    info: ChunkInfo | None
    uncompressed_size: int
    reference: LayerReference
    diff_id: Digest
    stats: LayerStats


def reference_layer(
    stream: BinaryIO,
    layer: Descriptor,
    spool: Path,
    options: ConvertOptions,
    progress: Progress,
) -> ConvertedLayer:
    """Makes the index blob of a layer: as `converter.layer.convert_layer`, but for the blob.

    Args:
        stream: the layer as stored; read to its end by another thread, and not closed.
        layer: what the stream has.
        spool: directory for the blob. On any error nothing new is left in it.
        options: how to convert. The same bytes and options give the same blob.
        progress: told how many stored bytes are used up.

    Raises:
        NotReferenceableError: the layer has to be converted.
        InvalidLayerError: the layer is damaged, or cannot be unpacked safely.
        LimitExceededError: the layer does not fit into RAFS.
        OSError: the spool directory cannot be written to, or zlib is not installed.
        Exception: whatever `stream` or `progress` raise.
    """
    indexed = index_layer(stream, layer, options, progress)
    with SpoolFile(spool) as out:
        blob = _write_blob(out, indexed, options)
    return ConvertedLayer(tree=indexed.tree, blob=blob, diff_id=indexed.diff_id, stats=indexed.stats)


def index_layer(
    stream: BinaryIO, layer: Descriptor, options: ConvertOptions, progress: Progress
) -> IndexedLayer:
    """Makes the index of a layer; for arguments and errors see `reference_layer`."""
    segments = SegmentReader(stream)
    counted = CountingReader(segments)
    source = StoredInput(counted)
    compression = source.compression()
    if compression is Compression.ZSTD:
        raise NotReferenceableError("it is compressed with zstd, which clients cannot read from the middle")
    index = GzipIndex(layer.size) if compression is Compression.GZIP else None
    chunks = _Chunks(options)
    with ReadAhead(lambda: index.blocks(source) if index else source.blocks()) as blocks:
        entries = _ReferenceLoader(chunks)
        entries.load(reporting(blocks, counted, progress))
        diff_id = blocks.digest()
    if counted.size != layer.size:
        raise InvalidLayerError(f"the layer has {counted.size} bytes, its descriptor says {layer.size}")
    return IndexedLayer(
        tree=entries.tree,
        table=chunks.table,
        info=chunks.info(index),
        uncompressed_size=chunks.uncompressed_size,
        reference=LayerReference(
            layer.digest, layer.size, compression.value, segments.chunk_list(layer.digest)
        ),
        diff_id=diff_id,
        stats=LayerStats(
            entries=entries.count,
            stored_size=counted.size,
            tar_size=blocks.size,
            file_size=entries.file_size,
            chunk_refs=len(entries.tree.chunk_refs),
        ),
    )


class _Chunks:
    """The chunks that a layer has, each distinct one once, and where they lie in its tar."""

    def __init__(self, options: ConvertOptions) -> None:
        self.table = ChunkTable()
        self.uncompressed_size = 0  # of the address space so far
        self.zeros = bytes(options.chunk_size)
        self.offsets = array("Q")
        self._digest = digest_function(DIGESTER[options.digester])
        self._known: dict[bytes, ChunkUse] = {}
        self._next_offset = 0

    def begin_file(self, offset: int) -> None:
        """Says where the content begins whose chunks come next, one behind the other."""
        self._next_offset = offset

    def add(self, chunk: bytes) -> ChunkUse:
        """Notes a chunk, unless it is known.

        Raises:
            LimitExceededError: there are too many.
        """
        offset = self._next_offset
        self._next_offset += len(chunk)
        digest = self._digest(chunk)
        use = self._known.get(digest)
        if use is None:
            use = self._known[digest] = (0, self._append(digest, len(chunk), offset))
        return use

    def info(self, index: GzipIndex | None) -> ChunkInfo | None:
        """The chunk info table, once all chunks are known.

        Args:
            index: of the layer; None if it is a plain tar.

        Raises:
            NotReferenceableError: a chunk cannot be read from the layer.
        """
        if not len(self.table):
            return None
        if index is None:
            return plain_chunk_info(self.table, self.offsets)
        return gzip_chunk_info(self.table, self.offsets, index)

    def _append(self, digest: bytes, size: int, offset: int) -> int:
        table = self.table
        index = len(table)
        table.add_content(digest, size, self.uncompressed_size, len(self.zeros))
        self.offsets.append(offset)
        self.uncompressed_size += round_up(size, CHUNK_ALIGNMENT)
        return index


class _ReferenceLoader(TarLoader):
    """Loads a tar without storing content."""

    def __init__(self, chunks: _Chunks) -> None:
        super().__init__(chunks)
        self._located = chunks

    def _uses(self, reader: TarReader) -> Iterator[ChunkUse]:
        offset = reader.content_offset()
        if offset is None:
            raise NotReferenceableError("it has a sparse file, whose holes are nowhere in it")
        self._located.begin_file(offset)
        return super()._uses(reader)


def _write_blob(out: SpoolFile, layer: IndexedLayer, options: ConvertOptions) -> LayerBlob:
    """Writes the index; without chunks there is nothing to refer to, and the blob is like any other."""
    if layer.info is None:
        return BlobWriter(out, layer, options).finish(layer.tree)
    return write_index_blob(
        out, layer.table, layer.info, layer.uncompressed_size, layer.reference, layer.tree, options
    )
