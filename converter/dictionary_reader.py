"""Makes a chunk dictionary of Nydus images, ours and those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from converter.blob.chunk_table import CHUNK_INFO_SIZE, ChunkTable
from converter.blob.layout import CHUNK_INFO_HEADER_SIZE, DIGEST_SIZE, ChunkInfoHeader
from converter.bootstrap_reader import read_bootstrap_layer
from converter.classify import Kind, classify
from converter.dictionary import DEFAULT_MAX_BLOBS, MAX_IMAGES, BorrowedBlob, ChunkDictionary, LentBlob, Twin
from converter.errors import BlobError, BootstrapError, DictionaryError
from converter.image_form import DIGESTER
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.options import ConvertOptions
from converter.rafs.blobs import BlobInfo
from converter.rafs.contents import Bootstrap
from converter.rafs.layout import BlobFeature, Digester, round_up
from converter.rafs.reader import read_bootstrap
from converter.rafs.records import BlobRecord

OpenBlob = Callable[[Descriptor], AbstractContextManager[BinaryIO]]

# Chunks that the blobs of a dictionary may have, used or not: memory for each is taken before it is read.
MAX_CHUNKS: Final = 1 << 22

# As a plain integer: the complement of an IntFlag leaves out the bits that it has no name for.
_LENDABLE: Final = int(
    BlobFeature.ALIGNED
    | BlobFeature.INLINED_FS_META
    | BlobFeature.INLINED_CHUNK_DIGEST
    | BlobFeature.HAS_TAR_HEADER
    | BlobFeature.HAS_TOC
    | BlobFeature.CAP_TAR_TOC
)


@dataclass(frozen=True, slots=True)
class DictionaryImage:
    """A Nydus image as far as a dictionary needs it.

    Args:
        manifest: of the image.
        bootstrap: its bootstrap.
        cache_files: what its bootstrap layer has beside, by path; looked at are `image/<blob id>.blob.meta`.
        source: manifest of the image that it was converted from, if that is known.
    """

    manifest: ImageManifest
    bootstrap: Bootstrap
    cache_files: Mapping[bytes, bytes] = field(default_factory=dict)
    source: ImageManifest | None = None


def open_dictionary_image(
    manifest: ImageManifest, open_blob: OpenBlob, source: ImageManifest | None = None
) -> DictionaryImage:
    """Reads what a dictionary needs of an image: its bootstrap layer.

    Args:
        manifest: of the image.
        open_blob: opens its blobs. Reading them raises if they do not have the digest.
        source: as for `DictionaryImage`.

    Raises:
        DictionaryError: it is not a Nydus image, or its bootstrap is none that can be read.
        Exception: whatever `open_blob` and its streams raise.
    """
    if classify(manifest) is not Kind.NYDUS or not manifest.layers:
        raise DictionaryError(f"{manifest.digest} cannot be a chunk dictionary: it is no Nydus image")
    try:
        with open_blob(manifest.layers[-1]) as stream:
            layer = read_bootstrap_layer(stream)
        return DictionaryImage(manifest, read_bootstrap(layer.bootstrap), layer.others, source)
    except BootstrapError as error:
        raise DictionaryError(f"{manifest.digest} cannot be a chunk dictionary: {error}") from error


def read_dictionary(
    images: Sequence[DictionaryImage], options: ConvertOptions, max_blobs: int = DEFAULT_MAX_BLOBS
) -> ChunkDictionary:
    """Makes a dictionary for conversions with certain options.

    Args:
        images: in the order in which they are asked for a chunk.
        options: of the conversion.
        max_blobs: as for `ChunkDictionary`.

    Raises:
        DictionaryError: an image does not go with the options or contradicts itself, or all together are too
            large.
    """
    if len(images) > MAX_IMAGES:
        raise DictionaryError(
            f"{len(images)} images are more than the {MAX_IMAGES} that a dictionary may have"
        )
    blobs: dict[Digest, LentBlob] = {}
    layers: dict[Digest, Twin] = {}
    for image in images:
        try:
            check_fit(image.bootstrap, options)
            for lent in _lent_blobs(image, kernel_mountable=options.kernel_mountable):
                blobs.setdefault(lent.blob.descriptor.digest, lent)
            for layer, twin in _twins(image).items():
                layers.setdefault(layer, twin)
        except DictionaryError as error:
            raise DictionaryError(f"{image.manifest.digest} cannot be a chunk dictionary: {error}") from error
        if (count := sum(len(lent.info.chunks.uncompressed_size) for lent in blobs.values())) > MAX_CHUNKS:
            raise DictionaryError(f"the blobs of the chunk dictionary have {count} chunks, over {MAX_CHUNKS}")
    return ChunkDictionary(
        images=tuple(image.manifest.digest for image in images),
        blobs=tuple(blobs.values()),
        layers=layers,
        max_blobs=max_blobs,
    )


def check_fit(bootstrap: Bootstrap, options: ConvertOptions) -> None:
    """Checks whether a conversion can refer to the chunks of an image (§4.2).

    Raises:
        DictionaryError: it cannot.
    """
    if options.oci_ref:
        raise DictionaryError("with oci_ref the data stay in the layers of the source; nothing is shared")
    for name, found, wanted in (
        ("RAFS version", bootstrap.version, options.fs_version),
        ("chunk size", bootstrap.chunk_size, options.chunk_size),
        ("digester", bootstrap.digester, DIGESTER[options.digester]),
    ):
        if found != wanted:
            raise DictionaryError(f"its {name} is {_shown(found)}, that of the conversion {_shown(wanted)}")
    if bootstrap.version != 6:
        raise DictionaryError("dictionaries are for RAFS 6 only")


def _shown(value: int) -> str:
    return value.name.lower() if isinstance(value, Digester) else str(value)


def _lent_blobs(image: DictionaryImage, *, kernel_mountable: bool) -> list[LentBlob]:
    listed = {layer.digest.hex: layer for layer in image.manifest.layers[:-1]}
    found = []
    for record in image.bootstrap.blobs:
        blob_id = record.blob_id.decode()
        if blob_id not in listed:
            raise DictionaryError(f"its bootstrap uses the blob {blob_id}, which is none of its layers")
        if record.features & ~_LENDABLE or not record.features & BlobFeature.ALIGNED or record.cipher:
            raise DictionaryError(f"the blob {blob_id} has the features {record.features:#x}")
        if record.chunk_count > MAX_CHUNKS:
            raise DictionaryError(f"the blob {blob_id} has {record.chunk_count} chunks, over {MAX_CHUNKS}")
        rows = image.bootstrap.chunks[image.bootstrap.chunks["blob_index"] == record.index]
        # Without the chunks in place as they are, the kernel cannot take the blob for a device.
        if kernel_mountable and (rows["compressed_offset"] != rows["uncompressed_offset"]).any():
            raise DictionaryError(f"the blob {blob_id} is not laid out for the kernel")
        table = _chunk_table(record, rows)
        indexes = tuple(sorted(rows["index"].tolist()))
        cache_file = image.cache_files.get(_cache_file_name(blob_id))
        if cache_file is not None:
            _check_cache_file(cache_file, record, table, indexes)
        blob = BorrowedBlob(listed[blob_id], image.manifest.digest)
        offered_size = int(rows["uncompressed_size"].sum(dtype=np.int64))
        found.append(LentBlob(blob, BlobInfo.of(record, table), indexes, offered_size, cache_file))
    return found


def _chunk_table(record: BlobRecord, rows: npt.NDArray[Any]) -> ChunkTable:
    """The chunk table of a blob, with zeros where the bootstrap does not list a chunk."""
    table, index = ChunkTable(), rows["index"]
    digests = np.zeros(record.chunk_count, f"V{DIGEST_SIZE}")
    digests[index] = rows["digest"]
    table.digests += digests.tobytes()
    for name in ("uncompressed_size", "uncompressed_offset", "compressed_size", "compressed_offset"):
        column = getattr(table, name)
        values = np.zeros(record.chunk_count, np.dtype(column.typecode))
        values[index] = rows[name]
        column.frombytes(values.tobytes())
    return table


def _check_cache_file(content: bytes, record: BlobRecord, table: ChunkTable, indexes: Sequence[int]) -> None:
    """Compares what an image brings along for nydusd's cache with what its bootstrap says (§2.5)."""
    what = f"its file {record.blob_id.decode()}.blob.meta"
    size = CHUNK_INFO_SIZE * record.chunk_count
    if len(content) != round_up(size, CHUNK_INFO_HEADER_SIZE) + CHUNK_INFO_HEADER_SIZE:
        raise DictionaryError(f"{what} has {len(content)} bytes for {record.chunk_count} chunks")
    try:
        header = ChunkInfoHeader.decode(content[-CHUNK_INFO_HEADER_SIZE:])
        found = ChunkTable.decode(content[:size], bytes(DIGEST_SIZE * record.chunk_count))
    except BlobError as error:
        raise DictionaryError(f"{what}: {error}") from error
    stated = (record.ci_compressor, record.ci_offset, record.ci_compressed_size, record.ci_uncompressed_size)
    if stated != (header.compressor, header.offset, header.compressed_size, header.uncompressed_size):
        raise DictionaryError(f"{what} contradicts the blob table")
    for name in ("uncompressed_size", "uncompressed_offset", "compressed_size", "compressed_offset"):
        read, listed = getattr(found, name), getattr(table, name)
        if any(read[index] != listed[index] for index in indexes):
            raise DictionaryError(f"{what} contradicts the chunk table")


def _twins(image: DictionaryImage) -> dict[Digest, Twin]:
    """What each layer of the image's source became: their blobs come first, in the same order (§1.1)."""
    source, blobs, annotations = image.source, image.manifest.layers[:-1], image.manifest.annotations
    if source is None:
        return {}
    if annotations.get(media_types.ANNOTATION_SOURCE_DIGEST) != str(source.digest):
        raise DictionaryError(f"it was not converted from {source.digest}")
    if len(blobs) < len(source.layers):
        raise DictionaryError(f"it has fewer data blobs than {source.digest} has layers")
    if (
        len(blobs) > len(source.layers)
        and media_types.ANNOTATION_DICTIONARY not in image.manifest.annotations
    ):
        return {}  # others do not say which blobs go together
    named = {record.blob_id.decode() for record in image.bootstrap.blobs}
    # Of a blob with chunks (it has a cache file) that the bootstrap does not name nothing more is known.
    return {
        layer.digest: Twin(BorrowedBlob(blob, image.manifest.digest), _refers_to(blob))
        for layer, blob in zip(source.layers, blobs, strict=False)
        if blob.digest.hex in named or _cache_file_name(blob.digest.hex) not in image.cache_files
    }


def _refers_to(blob: Descriptor) -> tuple[str, ...]:
    stated = blob.annotations.get(media_types.ANNOTATION_REFERS_TO, "")
    return tuple(stated.split(",")) if stated else ()


def _cache_file_name(blob_id: str) -> bytes:
    return f"image/{blob_id}.blob.meta".encode()
