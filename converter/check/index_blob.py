"""Checks the index of a layer: by reading every chunk with it, and by making it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from blake3 import blake3

from converter.blob import layout
from converter.blob.chunk_info_v2 import GzipWindows
from converter.blob.chunk_table import ChunkTable
from converter.blob.layout import ChunkInfoHeader
from converter.blob.reader import BlobKind, BlobReader
from converter.check.blob import CheckedBlob, Framing, check_file_digest
from converter.chunk_digest import digest_function
from converter.errors import BlobError, InvalidLayerError
from converter.oci import Descriptor
from converter.options import MAX_REFERENCE_CHUNK_SIZE, ConvertOptions
from converter.progress import NO_PROGRESS
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import BlobFeature, Compressor, Digester
from converter.tree_compare import DIGEST, Digests
from converter.zran.errors import NotReferenceableError
from converter.zran.layer import IndexedLayer, index_layer
from converter.zran.reader import GzipLayerReader


def check_index_blob(
    file: BinaryIO,
    descriptor: Descriptor,
    layer: BinaryIO,
    original: Descriptor,
    chunk_size: int,
    report: Callable[[str], None],
) -> CheckedBlob:
    """Checks a blob that is the index of a layer.

    Args:
        file: the blob, seekable.
        descriptor: its digest and size.
        layer: the layer, seekable.
        original: its digest and size.
        chunk_size: of the image.
        report: told what is wrong with parts of it.

    Raises:
        BlobError: it is so wrong that its parts cannot be told, or the layer cannot be read.
    """
    reader = BlobReader(file, digester=Digester.SHA256)
    if reader.kind is not BlobKind.CONTENTS or layout.SECTION_BOOTSTRAP not in reader.contents:
        raise BlobError(f"it is a blob of {reader.kind.value}; an index ends otherwise")
    table, windows = reader.chunk_info()
    header = reader.header
    if header is None:
        raise BlobError("it is said to be an index, but has no chunk info")
    Framing(reader.contents, file).check(report)
    again = _index_again(layer, original, chunk_size)
    if again.info is None or reader.chunk_info_table() != again.info.encoded:
        report("it is not the index that goes with the layer")
    in_gzip = again.reference.compressor == "gzip"
    features = layout.FEATURES | BlobFeature.CHUNK_INFO_V2 | BlobFeature.SEPARATE
    features |= BlobFeature.ZRAN if in_gzip else BlobFeature(0)
    expected = ChunkInfoHeader(
        features, header.compressor, len(table), 0, header.compressed_size, header.uncompressed_size,
        *(again.info.contexts if again.info else (0, 0, 0)),
    )  # fmt: skip
    place = reader.contents[layout.SECTION_CHUNK_INFO_HEADER]
    if reader.read(place.offset, place.stored_size) != expected.encode():
        report("the header of the chunk info table does not describe the table")
    check_file_digest(file, descriptor, report)
    content, digests = _read_chunks(layer, original, table, windows, report)
    info = BlobInfo(
        blob_id=original.digest.hex,
        compressor=Compressor.GZIP if in_gzip else Compressor.NONE,
        features=features & ~BlobFeature.INLINED_FS_META,
        compressed_size=original.size,
        uncompressed_size=again.uncompressed_size,
        ci_compressor=Compressor(header.compressor),
        ci_offset=header.offset,
        ci_compressed_size=header.compressed_size,
        ci_uncompressed_size=header.uncompressed_size,
        chunks=table,
        digester=Digester.SHA256,
        meta_digest=bytes.fromhex(descriptor.digest.hex),
        meta_size=descriptor.size,
    )
    return CheckedBlob(info, content, digests, b"")


def _index_again(layer: BinaryIO, original: Descriptor, chunk_size: int) -> IndexedLayer:
    if chunk_size > MAX_REFERENCE_CHUNK_SIZE:
        raise BlobError(f"no index has chunks of {chunk_size} bytes")
    options = ConvertOptions(oci_ref=True, digester="sha256", chunk_size=chunk_size)
    layer.seek(0)
    try:
        return index_layer(layer, original, options, NO_PROGRESS)
    except (NotReferenceableError, InvalidLayerError) as error:
        raise BlobError(f"the layer {original.digest} cannot have an index: {error}") from error


def _read_chunks(
    layer: BinaryIO,
    original: Descriptor,
    table: ChunkTable,
    windows: GzipWindows | None,
    report: Callable[[str], None],
) -> tuple[Digests, Digests]:
    """Reads all chunks as a client does; gives BLAKE3 and SHA-256 of their content."""
    digest_of = digest_function(Digester.SHA256)
    content = np.zeros(len(table), DIGEST)
    digests = content.copy()
    stated = np.frombuffer(bytes(table.digests), DIGEST)
    gzip_layer = GzipLayerReader(original.digest, layer, windows) if windows else None
    for index, size in enumerate(table.uncompressed_size):
        try:
            if gzip_layer:
                data = gzip_layer.chunk(index, size)
            else:
                layer.seek(table.compressed_offset[index])
                data = layer.read(size)
        except BlobError as error:
            report(f"chunk {index}: {error}")
            continue
        content[index] = np.void(blake3(data).digest())
        digests[index] = np.void(digest_of(data))
        if len(stated) and digests[index] != stated[index]:
            report(f"chunk {index} does not match its digest")
    return content, digests
