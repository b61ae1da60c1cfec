"""Converts images to one EROFS file each: `dragonhook convert --one-file`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from converter.classify import check_convertible
from converter.oci import Descriptor, ImageIndex, Platform
from converter.one_file import OneFileImage, convert_to_one_file
from converter.options import ConvertOptions
from converter.progress import Progress
from registry_hook.chosen_images import choose_images
from registry_hook.converted_index import converted_index, listed_as
from registry_hook.transports import ImageSink, ImageSource


def convert_to_files(
    source: ImageSource,
    sink: ImageSink,
    options: ConvertOptions,
    progress: Progress,
    work_dir: Path | None,
    platforms: Sequence[Platform] = (),
) -> Descriptor:
    """Converts an image, or the images of an index; arguments and errors as `oneshot.convert_one`.

    An image that may not be distributed is an error in an index, too.

    Returns:
        The converted image or index.

    Raises:
        ValueError: the options ask for something that one file cannot have.
    """
    chosen = choose_images(source, platforms)
    for _, image in chosen.images:
        check_convertible(image, include_foreign=options.include_foreign)
    with ExitStack() as directories:
        made = []
        for entry, image in chosen.images:
            work = directories.enter_context(TemporaryDirectory(prefix="dragonhook-", dir=work_dir))
            config = source.read_blob(image.config)
            converted = convert_to_one_file(image, config, source.open_blob, Path(work), options, progress)
            for blob in converted.converted.blobs:
                blob.path.unlink(missing_ok=True)  # equal layers share one
            made.append((entry, converted))
        for _, converted in made:
            _put_blobs(sink, converted)
        if not chosen.as_index or not isinstance(chosen.source, ImageIndex):
            manifest = made[0][1].manifest
            return sink.publish(manifest.raw, manifest.media_type)
        entries = [
            listed_as(entry, sink.put_manifest(image.manifest.raw, image.manifest.media_type))
            for entry, image in made
        ]
        index = converted_index(chosen.source, entries, has_subject=False)
        return sink.publish(index.raw, index.media_type)


def _put_blobs(sink: ImageSink, image: OneFileImage) -> None:
    (layer,) = image.manifest.layers
    sink.put_blob(layer, image.path)
    sink.put_blob(image.manifest.config, image.config)
