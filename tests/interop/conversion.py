"""Conversions laid out as their readers want them."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from converter.image import ConvertedImage, convert_image
from converter.options import ConvertOptions
from tests.images.layout import Image
from tests.interop.blobs import device_tags, expand


@dataclass(frozen=True)
class Conversion:
    """A converted image on disk.

    Args:
        image: what the converter gave.
        bootstrap: the bootstrap file.
        blobs: directory with the layer blobs and the layers that they refer to, named by the 64 digits of
            their digests.
    """

    image: ConvertedImage
    bootstrap: Path
    blobs: Path

    def devices(self) -> list[Path]:
        """The blobs that the bootstrap refers to, in the order of its device table."""
        return [self.blobs / tag for tag in device_tags(self.bootstrap.read_bytes())]

    def expanded_devices(self, directory: Path) -> list[Path]:
        """As `devices`, each expanded to its uncompressed address space."""
        directory.mkdir()
        targets = []
        for blob in self.devices():
            targets.append(directory / blob.name)
            expand(blob.read_bytes(), targets[-1])
        return targets


def convert(image: Image, directory: Path, options: ConvertOptions) -> Conversion:
    """Converts an image into a new directory."""
    work = directory / "work"
    work.mkdir(parents=True)
    converted = convert_image(image.manifest, image.config, image.open_layer, work, options)
    return lay_out(image, converted, directory)


def lay_out(image: Image, converted: ConvertedImage, directory: Path) -> Conversion:
    """Puts a conversion of an image where readers find all of it."""
    blobs = directory / "blobs"
    blobs.mkdir(parents=True)
    for blob in converted.blobs:
        target = blobs / blob.descriptor.digest.hex
        if not target.exists():
            target.hardlink_to(blob.path)
        if blob.reference is not None:
            (blobs / blob.reference.digest.hex).write_bytes(image.blobs[blob.reference.digest])
    bootstrap = directory / "image.boot"
    with tarfile.open(converted.bootstrap.path) as archive:
        member = archive.extractfile("image/image.boot")
        assert member is not None
        bootstrap.write_bytes(member.read())
    return Conversion(converted, bootstrap, blobs)
