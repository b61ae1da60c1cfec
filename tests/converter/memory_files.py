"""A Nydus image in memory, to be read and to be spoilt."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from converter.image import ConvertedImage, convert_image
from converter.nydus_image import ImageFiles
from converter.oci import Descriptor, Digest, ImageManifest
from converter.options import ConvertOptions
from tests.images.layout import Image


@dataclass
class MemoryFiles(ImageFiles):
    """Content by digest; what is wrong in it is not noticed, as where nobody checks."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def add(self, content: bytes) -> Digest:
        """Stores content."""
        digest = Digest.of(content)
        self.blobs[digest] = content
        return digest

    def read_blob(self, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        content = self.blobs[descriptor.digest]
        assert len(content) == descriptor.size
        yield io.BytesIO(content)

    open_seekable = open_blob


def nydus_files(
    image: Image, work: Path, options: ConvertOptions | None = None
) -> tuple[MemoryFiles, ImageManifest]:
    """Converts an image; gives the result in memory."""
    work.mkdir(exist_ok=True)
    converted = convert_image(
        image.manifest, image.config, image.open_layer, work, options or ConvertOptions(threads=1),
        subject=image.manifest.descriptor,
    )  # fmt: skip
    files = in_memory(converted)
    if options is not None and options.oci_ref:
        files.blobs |= image.blobs
    return files, converted.manifest


def in_memory(converted: ConvertedImage) -> MemoryFiles:
    """The files of a conversion."""
    files = MemoryFiles()
    files.add(converted.config)
    for path in (converted.bootstrap.path, *(blob.path for blob in converted.blobs)):
        files.add(path.read_bytes())
    return files
