"""Copies an image as it is from one place to another."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from converter.classify import is_foreign_layer
from converter.oci import Descriptor, ImageManifest
from registry_hook.transports.protocols import ImageSink, ImageSource

_COPY_BYTES: Final = 1 << 20


def copy_image(
    source: ImageSource, sink: ImageSink, image: ImageManifest, work_dir: Path | None, *, keep: bool = False
) -> Descriptor:
    """Copies config, layers and manifest, byte for byte, without publishing the image under a name.

    Layers that may not be distributed stay where they are: clients get them from the places that their
    descriptors name.

    Args:
        source: where the image is.
        sink: where it goes.
        image: its manifest.
        work_dir: for one layer at a time; None takes the system's temporary directory.
        keep: the manifest has to stay although no index names it.

    Raises:
        Exception: whatever `source` and `sink` raise.
    """
    for blob in (image.config, *image.layers):
        if not is_foreign_layer(blob):
            copy_blob(source, sink, blob, work_dir)
    put = sink.keep_manifest if keep else sink.put_manifest
    return put(image.raw, image.media_type)


def copy_blob(source: ImageSource, sink: ImageSink, blob: Descriptor, work_dir: Path | None) -> None:
    """Copies a blob, unless it is there.

    Raises:
        Exception: whatever `source` and `sink` raise.
    """
    if sink.has_blob(blob):
        return
    with TemporaryDirectory(prefix="dragonhook-", dir=work_dir) as directory:
        path = Path(directory) / blob.digest.hex
        with source.open_blob(blob) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, _COPY_BYTES)
        sink.put_blob(blob, path)
