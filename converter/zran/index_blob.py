"""Writes the blob that holds the index of a layer, and nothing of the layer's content (§8.1)."""

from __future__ import annotations

from typing import Final

from converter.blob import layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.layer_blob import LayerBlob
from converter.blob.reader import BlobReader
from converter.blob.sections import SectionWriter
from converter.blob.spool_file import SpoolFile
from converter.blob.writer import check_chunks
from converter.image_form import DIGESTER, write_bootstrap
from converter.options import ConvertOptions
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import BlobFeature, Compressor
from converter.tree import FileTree
from converter.zran.contexts import ChunkInfo
from converter.zran.reference import LayerReference

_FEATURES: Final = layout.FEATURES | BlobFeature.CHUNK_INFO_V2 | BlobFeature.SEPARATE


def write_index_blob(
    out: SpoolFile,
    table: ChunkTable,
    info: ChunkInfo,
    uncompressed_size: int,
    reference: LayerReference,
    tree: FileTree,
    options: ConvertOptions,
) -> LayerBlob:
    """Writes an index blob.

    Args:
        out: an empty file.
        table: the chunks, at least one.
        info: their encoded table.
        uncompressed_size: of their address space.
        reference: the layer that has them.
        tree: the layer's files.
        options: how to convert.

    Raises:
        LimitExceededError: the tree does not fit into a bootstrap.
    """
    in_gzip = reference.compressor == "gzip"
    features = _FEATURES | BlobFeature.ZRAN if in_gzip else _FEATURES
    sections = SectionWriter(out)
    header = sections.chunk_info(
        info.encoded, features=features, entries=len(table), level=options.level, contexts=info.contexts
    )
    sections.digests(bytes(table.digests))
    blob = BlobInfo(
        blob_id=reference.digest.hex,
        compressor=Compressor.GZIP if in_gzip else Compressor.NONE,
        features=features,
        compressed_size=reference.size,
        uncompressed_size=uncompressed_size,
        ci_compressor=Compressor(header.compressor),
        ci_offset=header.offset,
        ci_compressed_size=header.compressed_size,
        ci_uncompressed_size=header.uncompressed_size,
        chunks=table,
        digester=DIGESTER[options.digester],
    )
    sections.bootstrap(write_bootstrap(tree, [blob], options), options.level)
    sections.contents()
    with out.open() as file:
        check_chunks(table, BlobReader(file))
    path, digest = out.commit()
    return LayerBlob(
        path=path,
        digest=digest,
        size=out.size,
        chunks=table,
        compressor=blob.compressor,
        digester=blob.digester,
        features=features,
        compressed_size=blob.compressed_size,
        uncompressed_size=uncompressed_size,
        ci_compressor=blob.ci_compressor,
        ci_offset=blob.ci_offset,
        ci_compressed_size=blob.ci_compressed_size,
        ci_uncompressed_size=blob.ci_uncompressed_size,
        tail=tuple(sections.segments),
        reference=reference,
    )
