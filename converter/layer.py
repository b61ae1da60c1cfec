"""Converts one layer: its tar becomes a file tree and a blob of chunks.

The bytes flow through three kinds of threads, with bounded queues between them. One reads and decompresses
the layer and hashes the tar; the caller's reads the tar, cuts files into chunks, drops repeated ones and
writes; several compress. What does most of the work (inflate, SHA-256, BLAKE3, zstd) runs without the
interpreter lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from converter.blob.chunk_writer import ChunkWriter
from converter.blob.layer_blob import LayerBlob
from converter.blob.spool_file import SpoolFile
from converter.blob.writer import blob_writer
from converter.blob_pool import BlobPool
from converter.decompress import decompress
from converter.oci import Digest
from converter.options import ConvertOptions
from converter.progress import Progress
from converter.read_ahead import ReadAhead
from converter.tar_loader import CountingReader, TarLoader, reporting
from converter.tree import FileTree


@dataclass(frozen=True, slots=True)
class LayerStats:
    """How much went into a layer blob.

    Args:
        entries: of the tar.
        stored_size: bytes of the layer as it was stored.
        tar_size: bytes of the uncompressed tar.
        file_size: bytes of all regular files, repeated content included.
        chunk_refs: chunks of all files, repeated ones included.
    """

    entries: int
    stored_size: int
    tar_size: int
    file_size: int
    chunk_refs: int


@dataclass(frozen=True, slots=True)
class ConvertedLayer:
    """A converted layer.

    Args:
        tree: its files, with references to the chunks of `blob`, and of the pool.
        blob: its blob in the spool directory.
        diff_id: digest of the uncompressed tar.
        stats: counts.
    """

    tree: FileTree
    blob: LayerBlob
    diff_id: Digest
    stats: LayerStats


def convert_layer(
    stream: BinaryIO,
    spool: Path,
    options: ConvertOptions,
    progress: Progress,
    pool: BlobPool | None = None,
) -> ConvertedLayer:
    """Converts one layer in bounded memory, apart from what it has to remember of each file and chunk.

    Args:
        stream: the layer as stored, in any compression; read to its end by another thread, and not closed.
        spool: directory for the blob. On any error nothing new is left in it.
        options: how to convert. The same bytes, options and pool give the same blob.
        progress: told how many stored bytes are used up, as stage "layer" without a total. What it raises
            ends everything.
        pool: blobs of other layers and images whose chunks the layer may use without storing them. In its
            tree they are numbered from 1.

    Raises:
        InvalidLayerError: the layer is damaged, or cannot be unpacked safely.
        LimitExceededError: the layer does not fit into RAFS.
        OSError: the spool directory cannot be written to.
        Exception: whatever `stream` or `progress` raise.
    """
    counted = CountingReader(stream)
    with (
        SpoolFile(spool) as out,
        ChunkWriter(out, options, pool) as chunks,
        ReadAhead(lambda: decompress(counted)) as blocks,
    ):
        entries = TarLoader(chunks)
        entries.load(reporting(blocks, counted, progress))
        chunks.finish()
        blob = blob_writer(out, chunks, options).finish(entries.tree, pool.blobs if pool else ())
        stats = LayerStats(
            entries=entries.count,
            stored_size=counted.size,
            tar_size=blocks.size,
            file_size=entries.file_size,
            chunk_refs=len(entries.tree.chunk_refs),
        )
        diff_id = blocks.digest()
    return ConvertedLayer(tree=entries.tree, blob=blob, diff_id=diff_id, stats=stats)
