"""What is in an image, a bootstrap or a blob, in figures.

Everything here is a plain value, so that `dataclasses.asdict` gives what `dragonhook inspect --json` prints.
Sizes are in bytes.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from converter.blob.reader import BlobReader
from converter.oci import Descriptor, ImageManifest, media_types
from converter.rafs.layout import BlobFeature, SuperFlag
from converter.rafs.nodes import column
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.rafs.records import BlobRecord

_KINDS: Final = {
    stat.S_IFREG: "files",
    stat.S_IFDIR: "directories",
    stat.S_IFLNK: "symlinks",
    stat.S_IFCHR: "devices",
    stat.S_IFBLK: "devices",
    stat.S_IFIFO: "fifos",
    stat.S_IFSOCK: "sockets",
}


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """A layer of a manifest.

    Args:
        role: `data`, `bootstrap`, or `layer` for one of an ordinary image.
        borrowed_from: digest of the image whose blob it is, if it is not the image's own.
        index_of: digest of the layer whose data stay where they are, if it is an index of one.
    """

    digest: str
    media_type: str
    size: int
    role: str
    borrowed_from: str | None
    index_of: str | None


@dataclass(frozen=True, slots=True)
class BlobFigures:
    """A blob, as a bootstrap knows it.

    Args:
        id: how clients ask for it.
        features: names of `BlobFeature`.
        stored_size: of the blob, or of its part in front of an inlined bootstrap.
        uncompressed_size: of its uncompressed address space.
        chunks: in the blob.
        used_chunks: in use by files of the image.
        used_stored_size: of these, as stored.
        used_size: of these, uncompressed.
        ratio: stored by uncompressed size of the chunks in use; None without any, and of a gzip layer, where
            it is known of the whole only.
        borrowed_from: digest of the image whose blob it is, if the manifest says it is not the image's own.
        is_listed: whether the manifest lists it; None without a manifest.
    """

    id: str
    index: int
    features: tuple[str, ...]
    stored_size: int
    uncompressed_size: int
    chunks: int
    used_chunks: int
    used_stored_size: int
    used_size: int
    ratio: float | None
    borrowed_from: str | None = None
    is_listed: bool | None = None


@dataclass(frozen=True, slots=True)
class LenderFigures:
    """What an image takes from the blobs of one image: another one, or itself.

    Args:
        image: digest of the other one; None for the image itself.
        blobs: how many of its blobs.
        chunks: in use of these.
        stored_bytes: of these chunks, as stored: what the image would have to store again.
        bytes: of these chunks, uncompressed.
    """

    image: str | None
    blobs: int
    chunks: int
    stored_bytes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SharingFigures:
    """How often chunks are used, and whose they are.

    Args:
        references: uses of chunks by files; a file with several names counts once.
        chunks: distinct ones among them.
        file_bytes: content of all files.
        distinct_bytes: content of the distinct chunks.
        saved_bytes: what would be there more if each file had chunks of its own.
        lenders: whose blobs the distinct chunks are in, the image itself first.
    """

    references: int
    chunks: int
    file_bytes: int
    distinct_bytes: int
    saved_bytes: int
    lenders: tuple[LenderFigures, ...]


@dataclass(frozen=True, slots=True)
class BootstrapFigures:
    """A bootstrap.

    Args:
        rafs_version: 5 or 6.
        has_owners: False if uids and gids were left out, and are those of the client.
        names: below the root.
        inodes: by kind.
        prefetch: paths; bytes that are not UTF-8 are escaped.
    """

    rafs_version: int
    compressor: str
    digester: str
    chunk_size: int
    has_owners: bool
    names: int
    inodes: Mapping[str, int]
    blobs: tuple[BlobFigures, ...]
    sharing: SharingFigures
    prefetch: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SectionFigures:
    """A section of a blob; `elsewhere` bytes of it are announced but lie in another blob."""

    name: str
    offset: int
    size: int
    elsewhere: int


@dataclass(frozen=True, slots=True)
class BlobFileFigures:
    """A blob, as it says itself.

    Args:
        framing: how it is put together.
        features: names of `BlobFeature`, of its chunk info; None without chunks.
        chunk_info_version: 1 or 2; None without chunks.
        stored_size: of all chunks.
        content_size: of all chunks, uncompressed.
        inflate_contexts: of an index of a gzip layer, else 0.
        bootstrap: the one inside, if there is one.
    """

    size: int
    framing: str
    sections: tuple[SectionFigures, ...]
    features: tuple[str, ...] | None
    chunk_info_version: int | None
    chunks: int
    stored_size: int
    content_size: int
    inflate_contexts: int
    bootstrap: BootstrapFigures | None


def describe_bootstrap(bootstrap: Bootstrap, manifest: ImageManifest | None = None) -> BootstrapFigures:
    """The figures of a bootstrap.

    Args:
        bootstrap: what was read.
        manifest: of the image that it belongs to, if it is known.
    """
    tree, chunks = bootstrap.tree, bootstrap.chunks
    kinds = Counter[str]()
    for mode, count in zip(*np.unique(column(tree.mode) >> 12, return_counts=True), strict=True):
        kinds[_KINDS[int(mode) << 12]] += int(count)
    file_bytes = int(column(tree.size)[column(tree.mode) >> 12 == stat.S_IFREG >> 12].sum())
    distinct = int(chunks["uncompressed_size"].sum(dtype=np.uint64))
    blobs = tuple(_describe_blob(blob, chunks, manifest) for blob in bootstrap.blobs)
    return BootstrapFigures(
        rafs_version=bootstrap.version,
        compressor=bootstrap.compressor.name.lower(),
        digester=bootstrap.digester.name.lower(),
        chunk_size=bootstrap.chunk_size,
        has_owners=bool(bootstrap.flags & SuperFlag.EXPLICIT_UID_GID),
        names=bootstrap.name_count,
        inodes=dict(sorted(kinds.items())),
        blobs=blobs,
        sharing=SharingFigures(
            references=len(tree.chunk_refs),
            chunks=len(chunks),
            file_bytes=file_bytes,
            distinct_bytes=distinct,
            saved_bytes=file_bytes - distinct,
            lenders=_lenders(blobs),
        ),
        prefetch=tuple(path.decode(errors="backslashreplace") for path in bootstrap.prefetch),
    )


def describe_layers(manifest: ImageManifest) -> tuple[LayerFigures, ...]:
    """The layers of an image, Nydus or not."""
    return tuple(
        LayerFigures(
            str(layer.digest),
            layer.media_type,
            layer.size,
            _role(layer),
            layer.annotations.get(media_types.ANNOTATION_BORROWED_FROM),
            layer.annotations.get(media_types.ANNOTATION_NYDUS_REF),
        )
        for layer in manifest.layers
    )


def describe_blob_file(reader: BlobReader) -> BlobFileFigures:
    """The figures of a blob.

    Raises:
        BlobError: it breaks the format.
        BootstrapError: the bootstrap inside it does.
    """
    header = reader.header
    table, windows = reader.chunk_info()
    has_bootstrap = any(section.name == b"image.boot" for section in reader.sections)
    return BlobFileFigures(
        size=reader.size,
        framing=reader.kind.value,
        sections=tuple(
            SectionFigures(section.name.decode(), section.offset, section.size, section.elsewhere)
            for section in reader.sections
        ),
        features=None if header is None else feature_names(header.features),
        chunk_info_version=None
        if header is None
        else 2
        if header.features & BlobFeature.CHUNK_INFO_V2
        else 1,
        chunks=len(table),
        stored_size=sum(table.compressed_size),
        content_size=sum(table.uncompressed_size),
        inflate_contexts=0 if windows is None else len(windows.contexts),
        bootstrap=describe_bootstrap(read_bootstrap(reader.bootstrap())) if has_bootstrap else None,
    )


def feature_names(features: int) -> tuple[str, ...]:
    """The names of the features of a blob."""
    return tuple(str(feature.name).lower() for feature in BlobFeature if features & feature)


def _describe_blob(blob: BlobRecord, chunks: npt.NDArray[Any], manifest: ImageManifest | None) -> BlobFigures:
    used = chunks[chunks["blob_index"] == blob.index]
    stored = int(used["compressed_size"].sum(dtype=np.uint64))
    size = int(used["uncompressed_size"].sum(dtype=np.uint64))
    layer = None
    if manifest is not None:
        layer = next((one for one in manifest.layers if blob.blob_id.decode() in _blob_ids(one)), None)
    return BlobFigures(
        id=blob.blob_id.decode(),
        index=blob.index,
        features=feature_names(blob.features),
        stored_size=blob.compressed_size,
        uncompressed_size=blob.uncompressed_size,
        chunks=blob.chunk_count,
        used_chunks=len(used),
        used_stored_size=stored,
        used_size=size,
        ratio=round(stored / size, 4) if size and not blob.features & BlobFeature.ZRAN else None,
        borrowed_from=None if layer is None else layer.annotations.get(media_types.ANNOTATION_BORROWED_FROM),
        is_listed=None if manifest is None else layer is not None,
    )


def _lenders(blobs: tuple[BlobFigures, ...]) -> tuple[LenderFigures, ...]:
    images = sorted({blob.borrowed_from or "" for blob in blobs})
    groups = [[blob for blob in blobs if (blob.borrowed_from or "") == image] for image in images]
    return tuple(
        LenderFigures(
            image=group[0].borrowed_from,
            blobs=len(group),
            chunks=sum(blob.used_chunks for blob in group),
            stored_bytes=sum(blob.used_stored_size for blob in group),
            bytes=sum(blob.used_size for blob in group),
        )
        for group in groups
    )


def _blob_ids(layer: Descriptor) -> tuple[str, str]:
    """By which ids a bootstrap can mean a layer: its own, or that of the gzip layer that it indexes."""
    referred = layer.annotations.get(media_types.ANNOTATION_NYDUS_REF, "")
    return layer.digest.hex, referred.removeprefix("sha256:")


def _role(layer: Descriptor) -> str:
    if media_types.ANNOTATION_NYDUS_BOOTSTRAP in layer.annotations:
        return "bootstrap"
    if layer.media_type == media_types.NYDUS_BLOB or media_types.ANNOTATION_NYDUS_BLOB in layer.annotations:
        return "data"
    return "layer"
