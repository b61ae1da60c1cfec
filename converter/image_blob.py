"""A data blob of a converted image together with its chunk list."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from converter.blob import LayerBlob
from converter.chunk_manifest.chunk_list import ChunkListWriter, SegmentKind
from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.fs_verity import fs_verity_of
from converter.oci import Descriptor, Digest, media_types
from converter.zran.reference import LayerReference


@dataclass(frozen=True, slots=True)
class ReferencedLayer:
    """A layer of the source that holds data of a converted image, and what is to be signed of it.

    Args:
        digest: of the layer.
        size: of the layer in bytes.
        compressor: "gzip" or "none".
        chunk_list_path: file of its chunk list.
        chunk_list: descriptor of that list.
        root_hash: RFC 6962 root over the records of the list, 32 bytes.
    """

    digest: Digest
    size: int
    compressor: str
    chunk_list_path: Path
    chunk_list: Descriptor
    root_hash: bytes


@dataclass(frozen=True, slots=True)
class ConvertedBlob:
    """One data blob of a converted image, and what is to be signed of it.

    Args:
        descriptor: of the blob, with its annotations.
        path: its file.
        chunk_list_path: file of its chunk list.
        chunk_list: descriptor of that list.
        chunk_count: stored chunks; 0 for a layer without file content.
        root_hash: RFC 6962 root over the records of the list, 32 bytes.
        compressor: "zstd", "lz4_block" or "none"; "gzip" for the index of a gzip layer.
        reference: the layer that the blob is an index of; None if it has its chunks itself.
    """

    descriptor: Descriptor
    path: Path
    chunk_list_path: Path
    chunk_list: Descriptor
    chunk_count: int
    root_hash: bytes
    compressor: str
    reference: ReferencedLayer | None


def write_chunk_list(blob: LayerBlob, *, fs_verity: bool = False) -> ConvertedBlob:
    """Writes the chunk list of a blob beside it.

    Args:
        blob: in the work directory.
        fs_verity: whether the descriptor shall have the blob's fs-verity digest.

    Raises:
        InvalidChunkListError: the list does not cover the blob; never for a blob that was converted here.
        OSError: the directory cannot be written to.
    """
    writer = ChunkListWriter()
    writer.add_many(blob.chunk_segment_lengths(), SegmentKind.CHUNK, blob.chunks.stored_sha256)
    for segment in blob.tail:
        writer.add(segment)
    encoded = writer.finish(blob.digest)
    summary = ChunkListReader(io.BytesIO(encoded)).read_all()
    path = blob.path.with_name(blob.path.name + ".chunklist")
    path.write_bytes(encoded)
    annotations = _annotations(blob)
    if fs_verity:
        annotations[media_types.ANNOTATION_FS_VERITY] = str(fs_verity_of(blob.path))
    return ConvertedBlob(
        descriptor=Descriptor(media_types.NYDUS_BLOB, blob.digest, blob.size, annotations),
        path=blob.path,
        chunk_list_path=path,
        chunk_list=summary.descriptor,
        chunk_count=summary.chunk_count,
        root_hash=summary.root_hash,
        compressor=blob.compressor.name.lower(),
        reference=_write_reference(blob.reference, path.parent) if blob.reference else None,
    )


def _write_reference(layer: LayerReference, directory: Path) -> ReferencedLayer:
    summary = ChunkListReader(io.BytesIO(layer.chunk_list)).read_all()
    path = directory / f"{layer.digest.hex}.chunklist"
    path.write_bytes(layer.chunk_list)
    return ReferencedLayer(
        digest=layer.digest,
        size=layer.size,
        compressor=layer.compressor,
        chunk_list_path=path,
        chunk_list=summary.descriptor,
        root_hash=summary.root_hash,
    )


def _annotations(blob: LayerBlob) -> dict[str, str]:
    if blob.reference is None:
        return {media_types.ANNOTATION_NYDUS_BLOB: "true"}
    return {
        media_types.ANNOTATION_NYDUS_BLOB: "true",
        media_types.ANNOTATION_NYDUS_REF: str(blob.reference.digest),
    }
