"""Converts one image from one place to another, without the service: `dragonhook convert`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from converter.classify import Kind, classify, is_image_entry
from converter.errors import UnsupportedImageError
from converter.image import ConvertedImage, convert_image
from converter.oci import Descriptor, ImageIndex, ImageManifest
from converter.options import ConvertOptions
from converter.progress import Progress
from registry_hook.converted_index import converted_index
from registry_hook.transports import ImageSink, ImageSource


def convert_one(
    source: ImageSource, sink: ImageSink, options: ConvertOptions, progress: Progress, work_dir: Path | None
) -> Descriptor:
    """Converts an image, or each image of an index.

    Args:
        source: what to convert.
        sink: where the result goes; nothing of it before all of it is converted.
        options: how to convert.
        progress: told how far it is.
        work_dir: where to keep the result meanwhile; None takes the system's temporary directory.

    Returns:
        The converted image or index.

    Raises:
        UnsupportedImageError: there is no image that can be converted.
        ConvertError: an image is damaged or does not fit into RAFS.
    """
    manifest = source.manifest()
    with ExitStack() as directories:

        def convert(image: ImageManifest) -> ConvertedImage:
            work = directories.enter_context(TemporaryDirectory(prefix="dragonhook-", dir=work_dir))
            config = source.read_blob(image.config)
            return convert_image(
                image, config, source.open_blob, Path(work), options, progress, subject=image.descriptor
            )

        if isinstance(manifest, ImageManifest):
            converted = convert(manifest)
            _put_blobs(sink, converted)
            return sink.publish(converted.manifest.raw, converted.manifest.media_type)
        images = [(entry, convert(image)) for entry, image in _images(source, manifest)]
        entries = []
        for entry, converted in images:
            _put_blobs(sink, converted)
            stored = sink.put_manifest(converted.manifest.raw, converted.manifest.media_type)
            entries.append(replace(stored, platform=entry.platform))
        index = converted_index(manifest, entries)
        return sink.publish(index.raw, index.media_type)


def _images(source: ImageSource, index: ImageIndex) -> list[tuple[Descriptor, ImageManifest]]:
    """The images of an index, without attestations and the like."""
    found = []
    for entry in index.manifests:
        child = source.manifest(entry.digest) if is_image_entry(entry) else None
        if isinstance(child, ImageManifest) and classify(child) is Kind.IMAGE:
            found.append((entry, child))
    if not found:
        raise UnsupportedImageError(f"the index {index.digest} has no image that can be converted")
    return found


def _put_blobs(sink: ImageSink, image: ConvertedImage) -> None:
    for blob in image.blobs:
        sink.put_blob(blob.descriptor, blob.path)
    sink.put_blob(image.bootstrap.descriptor, image.bootstrap.path)
    sink.put_blob(image.manifest.config, image.config)
