"""Converting an image in a property, and reading all of it back."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from converter.check import check_image
from converter.image import ConvertedImage, convert_image
from converter.nydus_image import NydusImage
from converter.oci import Descriptor, Digest
from converter.options import ConvertOptions
from tests.converter.memory_files import in_memory
from tests.images.layout import Compression, Image, build_image
from tests.properties.shown import nanoseconds, shown
from tests.trees import Tree

_MEMORY = Path("/dev/shm")


@contextmanager
def work_directory() -> Iterator[Path]:
    """A directory in memory, where there is one: blobs are written durably, which takes time on a disk."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as work:
        yield Path(work)


def convert_and_read(
    tars: Sequence[bytes], options: ConvertOptions, compression: Compression = "plain"
) -> tuple[Tree, dict[bytes, int]]:
    """Converts layers; gives what our reader shows, and the nanoseconds of times.

    The conversion is also compared with its source, in which nothing may be found.
    """
    image = build_image(tars, compression)
    with work_directory() as work:
        converted = convert_image(
            image.manifest, image.config, image.open_layer, work, options, subject=image.manifest.descriptor
        )
        files = in_memory(converted)
        files.blobs |= image.blobs  # with oci_ref they hold the data
        report = check_image(
            image.manifest,
            image.config,
            image.open_layer,
            converted.manifest,
            files,
            prefetch=options.prefetch,
        )
        assert report.lines == []
        with NydusImage(files, converted.manifest) as nydus:
            return shown(nydus), nanoseconds(nydus)


def digests(image: Image, options: ConvertOptions, drip: int | None = None) -> dict[str, object]:
    """The digests of all that a conversion wrote, but for its documents, which name the source.

    Args:
        image: the source.
        options: of the conversion.
        drip: if not None, layers come in pieces of random sizes that this seeds.
    """

    @contextmanager
    def open_layer(descriptor: Descriptor) -> Iterator[BinaryIO]:
        with image.open_layer(descriptor) as stream:
            yield stream if drip is None else cast(BinaryIO, _Dripping(stream, drip))

    with work_directory() as work:
        return _digests(convert_image(image.manifest, image.config, open_layer, work, options))


def _digests(converted: ConvertedImage) -> dict[str, object]:
    return {
        "blobs": [blob.descriptor.digest for blob in converted.blobs],
        "blob files": [Digest.of(blob.path.read_bytes()) for blob in converted.blobs],
        "chunk lists": [blob.chunk_list.digest for blob in converted.blobs],
        "bootstrap": converted.bootstrap.diff_id,
        "bootstrap layer": converted.bootstrap.descriptor.digest,
    }


class _Dripping:
    """A stream that gives less than it is asked for."""

    def __init__(self, stream: BinaryIO, seed: int) -> None:
        self._stream = stream
        self._random = random.Random(seed)

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._random.choice((1, 7, 511, 512, 4096, 70_000))))
