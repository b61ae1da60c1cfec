"""A Nydus image, opened for reading: its documents, its file tree, and the content of its files.

Nothing is unpacked: content is read chunk by chunk, and no chunk is handed out that does not match its
digest in the bootstrap. The bootstrap in turn matches its digest in the manifest, so the content is the one
that the manifest means, wherever the blobs are read from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy.typing as npt

from converter.blob.codec import decompress
from converter.blob.reader import BlobReader
from converter.bootstrap_reader import BootstrapLayer, read_bootstrap_layer
from converter.chunk_digest import digest_function
from converter.classify import Kind, classify
from converter.errors import BlobError, BootstrapError, UnsupportedImageError
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.rafs.layout import CHUNK_COMPRESSED, BlobFeature, Compressor, Digester
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.rafs.records import BlobRecord
from converter.read_back import chunk_rows
from converter.tree_compare import Rows
from converter.zran.reader import GzipLayerReader


class ImageFiles(Protocol):
    """Where the parts of an image are: a layout, an archive, a registry."""

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """Reads a small blob (a config) whole and checked."""
        ...

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob from its start; the stream raises instead of handing out the end of wrong content."""
        ...

    def open_seekable(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob for reading anywhere in it. Nothing is checked; only the length is as described."""
        ...


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Where a chunk lies in its blob, and what it holds.

    Args:
        blob: index into the blob table.
        index: in that blob.
        offset: in the blob file, in bytes.
        stored_size: bytes there.
        size: bytes of content.
        is_compressed: whether the two differ in more than name.
        digest: of the content, 32 bytes.
    """

    blob: int
    index: int
    offset: int
    stored_size: int
    size: int
    is_compressed: bool
    digest: bytes


class NydusImage:
    """A Nydus image; a context manager, which closes the blobs it has opened.

    Args:
        files: where to read.
        manifest: which image.

    Raises:
        UnsupportedImageError: it is no Nydus image.
        BootstrapError: its bootstrap breaks the format, or contradicts the manifest.
        Exception: whatever `files` raises.

    Attributes:
        config: bytes of the image config.
        layer: the bootstrap layer.
        bootstrap: the bootstrap, read.
    """

    def __init__(self, files: ImageFiles, manifest: ImageManifest) -> None:
        if classify(manifest) is not Kind.NYDUS or not manifest.layers:
            raise UnsupportedImageError(
                f"{manifest.digest} is not a Nydus image but {describe_other(manifest)}"
            )
        self.files = files
        self.manifest = manifest
        self.config = files.read_blob(manifest.config)
        with files.open_blob(manifest.layers[-1]) as stream:
            self.layer: BootstrapLayer = read_bootstrap_layer(stream)
        self.bootstrap: Bootstrap = read_bootstrap(self.layer.bootstrap)
        self._open: dict[int, BinaryIO] = {}
        self._gzip_layers: dict[int, GzipLayerReader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.clear()
        self._gzip_layers.clear()
        self._stack.close()

    def blob_descriptor(self, index: int) -> Descriptor:
        """The layer that a row of the blob table means: of this image, or of its source.

        Raises:
            BootstrapError: the manifest has no such layer.
        """
        record = self.bootstrap.blobs[index]
        wanted = record.blob_id.decode()
        if record.features & BlobFeature.SEPARATE:
            return Descriptor(media_types.OCI_LAYER_GZIP, Digest(wanted), record.compressed_size)
        return self._layer_of(wanted)

    def index_descriptor(self, index: int) -> Descriptor:
        """The layer with the index of a blob that is a layer of the source.

        Raises:
            BootstrapError: the manifest has no such layer.
        """
        return self._layer_of(self.bootstrap.blobs[index].meta_digest.hex())

    def _layer_of(self, wanted: str) -> Descriptor:
        for layer in self.manifest.layers[:-1]:
            if layer.digest.hex == wanted:
                return layer
        raise BootstrapError(
            f"the bootstrap needs the blob {wanted}, which is no layer of {self.manifest.digest}"
        )

    @cached_property
    def chunk_rows(self) -> Rows:
        """For each item of the tree's `chunk_refs`, its row in the bootstrap's chunk table."""
        return chunk_rows(self.bootstrap)

    def chunks(self, inode: int) -> Iterator[StoredChunk]:
        """The chunks of a regular file, in order."""
        tree = self.bootstrap.tree
        first = tree.first_chunk[inode]
        for row in self.chunk_rows[first : first + tree.chunk_count[inode]].tolist():
            yield stored_chunk(self.bootstrap.chunks[row])

    def content(self, inode: int) -> Iterator[bytes]:
        """The content of a regular file in pieces of at most a chunk, each checked against its digest.

        Raises:
            BlobError: a chunk is not what it should be.
            Exception: whatever reading a blob raises.
        """
        for chunk in self.chunks(inode):
            yield self.read_chunk(chunk)

    def read_chunk(self, chunk: StoredChunk) -> bytes:
        """Reads a chunk and checks it; for the errors see `content`."""
        record = self.bootstrap.blobs[chunk.blob]
        if record.features & BlobFeature.ZRAN:
            data = self._gzip_layer(chunk.blob).chunk(chunk.index, chunk.size)
            return check_chunk(data, chunk, record)
        file = self._file(chunk.blob)
        file.seek(chunk.offset)
        return decode_chunk(file.read(chunk.stored_size), chunk, record)

    def _file(self, blob: int) -> BinaryIO:
        if blob not in self._open:
            descriptor = self.blob_descriptor(blob)
            self._open[blob] = self._stack.enter_context(self.files.open_seekable(descriptor))
        return self._open[blob]

    def _gzip_layer(self, blob: int) -> GzipLayerReader:
        if blob not in self._gzip_layers:
            with self.files.open_seekable(self.index_descriptor(blob)) as file:
                _, windows = BlobReader(file).chunk_info()
            if windows is None:
                raise BlobError(f"{self.index_descriptor(blob).digest} is no index of a gzip layer")
            self._gzip_layers[blob] = GzipLayerReader(
                self.blob_descriptor(blob).digest, self._file(blob), windows
            )
        return self._gzip_layers[blob]


def describe_other(manifest: ImageManifest) -> str:
    """What a manifest is instead, and what to do with that."""
    kind = classify(manifest)
    if kind is Kind.IMAGE:
        return "a plain one, of tar layers"
    if kind is Kind.EROFS:
        return (
            "an EROFS file system, which Linux mounts by itself (mount -o loop, or containerd's erofs "
            "snapshotter); fsck.erofs checks it, and unpacks it with --extract"
        )
    return "one without layers" if kind is Kind.NYDUS else kind.described


def stored_chunk(row: npt.NDArray[Any]) -> StoredChunk:
    """A row of the chunk table as values."""
    return StoredChunk(
        blob=int(row["blob_index"]),
        index=int(row["index"]),
        offset=int(row["compressed_offset"]),
        stored_size=int(row["compressed_size"]),
        size=int(row["uncompressed_size"]),
        is_compressed=bool(row["flags"] & CHUNK_COMPRESSED),
        digest=row["digest"].tobytes(),
    )


def decode_chunk(stored: bytes, chunk: StoredChunk, blob: BlobRecord) -> bytes:
    """The content of a chunk.

    Args:
        stored: what the blob has of it.
        chunk: what it should be.
        blob: the row of its blob in the blob table.

    Raises:
        BlobError: it is cut off, damaged, or does not match its digest.
    """
    what = f"chunk {chunk.index} of the blob {blob.blob_id.decode()}"
    if len(stored) != chunk.stored_size:
        raise BlobError(f"{what}: the blob ends {chunk.stored_size - len(stored)} bytes before the chunk")
    data = (
        decompress(stored, chunk.size, Compressor(blob.compressor), what) if chunk.is_compressed else stored
    )
    return check_chunk(data, chunk, blob)


def check_chunk(data: bytes, chunk: StoredChunk, blob: BlobRecord) -> bytes:
    """Gives the content of a chunk back, if it is that.

    Raises:
        BlobError: it does not match its digest.
    """
    if len(data) != chunk.size or digest_function(Digester(blob.digester))(data) != chunk.digest:
        raise BlobError(f"chunk {chunk.index} of the blob {blob.blob_id.decode()} does not match its digest")
    return data
