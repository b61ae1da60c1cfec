"""An image as one EROFS file: Linux mounts it from a loop device, containerd's EROFS snapshotter pulls it.

The file is the only layer of an image of its own kind (`application/vnd.erofs.layer.v1`, docs/adr/0123). It
is made from a Nydus image, so that each chunk is compared with its digest on the way.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from converter.fs_verity import FsVerity
from converter.image import ConvertedImage, OpenLayer, convert_image
from converter.image_documents import encode_config, encode_manifest, parse_config
from converter.nydus_image import NydusImage, stored_chunk
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS, Progress
from converter.rafs.flat import lay_out
from converter.rafs.layout import BLOCK_SIZE

STAGE: Final = "one file"
_FILE_NAME: Final = "image.erofs"
_HISTORY_ENTRY: Final = {"created_by": "Dragonhook", "comment": "all layers as one EROFS file system"}
_REPORT_EVERY: Final = 64


@dataclass(frozen=True, slots=True)
class OneFileImage:
    """An image of one EROFS file, in the work directory.

    Args:
        manifest: the OCI manifest, with its bytes.
        config: the image config.
        path: the file, which is the layer.
        converted: the Nydus image that it was made from; its files may go.
    """

    manifest: ImageManifest
    config: bytes
    path: Path
    converted: ConvertedImage


def check_options(options: ConvertOptions) -> None:
    """Checks that the options leave the form to us.

    Raises:
        ValueError: they ask for something that one file cannot have.
    """
    free = ConvertOptions(
        compressor="none" if options.compressor == "none" else "zstd", level=options.level,
        chunk_size=options.chunk_size, threads=options.threads, include_foreign=options.include_foreign,
    )  # fmt: skip
    if options != free:
        raise ValueError(
            "an image in one file is a plain EROFS file system; only its chunk size can be chosen"
        )


def convert_to_one_file(
    manifest: ImageManifest,
    config: bytes,
    open_layer: OpenLayer,
    work_dir: Path,
    options: ConvertOptions,
    progress: Progress = NO_PROGRESS,
) -> OneFileImage:
    """Converts an image; arguments and errors as `convert_image`, and what they mean for one file.

    The same image and chunk size give the same bytes: nothing in the file is compressed. The work directory
    needs room for the files of the image twice. The new manifest names no subject: clients that look for a
    Nydus image take the first referrer of the source for one.

    Raises:
        ValueError: the options ask for something that one file cannot have.
    """
    check_options(options)
    options = replace(options, compressor="none")
    converted = convert_image(manifest, config, open_layer, work_dir, options, progress)
    path = work_dir / _FILE_NAME
    with NydusImage(_LocalFiles(converted), converted.manifest) as image:
        layer = write_one_file(image, path, progress)
    new_config = _config(parse_config(config, len(manifest.layers)), layer.digest)
    return OneFileImage(_manifest(manifest, new_config, layer), new_config, path, converted)


def write_one_file(image: NydusImage, path: Path, progress: Progress = NO_PROGRESS) -> Descriptor:
    """Writes the files of a Nydus image as one EROFS file system.

    Args:
        image: whose files; of any form.
        path: the file to write.
        progress: told the stage "one file".

    Returns:
        The file as a layer, with its fs-verity digest.

    Raises:
        BlobError: a chunk is not what it should be.
        LimitExceededError: the file would be too large for EROFS.
        OSError: the file cannot be written.
    """
    boot = image.bootstrap
    layout = lay_out(boot.tree, image.chunk_rows, boot.chunks, boot.chunk_size)
    with path.open("wb") as file:
        out = _HashedFile(file)
        out.write(layout.metadata)
        for number, row in enumerate(layout.rows.tolist()):
            content = image.read_chunk(stored_chunk(boot.chunks[row]))
            out.write(content)
            out.write(bytes(-len(content) % BLOCK_SIZE))
            if number % _REPORT_EVERY == 0:
                progress.advance(STAGE, out.size, layout.size)
    if out.size != layout.size:
        raise AssertionError(f"{out.size} bytes were written where {layout.size} were laid out")
    progress.advance(STAGE, out.size, layout.size)
    annotations = {media_types.ANNOTATION_FS_VERITY: str(out.verity.digest())}
    return Descriptor(media_types.EROFS_LAYER, Digest(out.sha256.hexdigest()), out.size, annotations)


class _HashedFile:
    """Takes both digests of what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.verity = FsVerity()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Appends."""
        self._file.write(data)
        self.sha256.update(data)
        self.verity.update(data)
        self.size += len(data)


class _LocalFiles:
    """The parts of an image that was just converted; implements ImageFiles."""

    def __init__(self, converted: ConvertedImage) -> None:
        self._config = converted.config
        self._paths = {blob.descriptor.digest: blob.path for blob in converted.blobs}
        self._paths[converted.bootstrap.descriptor.digest] = converted.bootstrap.path

    def read_blob(self, descriptor: Descriptor) -> bytes:  # noqa: ARG002 - there is one only
        """The config."""
        return self._config

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """A layer."""
        return closing(self._paths[descriptor.digest].open("rb"))

    def open_seekable(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """A layer."""
        return self.open_blob(descriptor)


def _config(source: dict[str, Any], layer: Digest) -> bytes:
    """The source's config for one layer; what its lines of history made is no layer of its own any more."""
    rootfs = source["rootfs"] | {"diff_ids": [str(layer)]}
    history = [
        entry | {"empty_layer": True} if isinstance(entry, dict) else entry
        for entry in source.get("history") or []
    ]
    return encode_config({**source, "rootfs": rootfs, "history": [*history, _HISTORY_ENTRY]})


def _manifest(source: ImageManifest, config: bytes, layer: Descriptor) -> ImageManifest:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [layer.to_json()],
    }
    document["annotations"] = {
        **source.annotations,
        media_types.ANNOTATION_SOURCE_DIGEST: str(source.digest),
    }
    return encode_manifest(document, source)
