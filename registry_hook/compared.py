"""An image and its conversion, each with the place where it is: what all checks of `checking` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from converter.check import CheckReport, check_image
from converter.classify import is_foreign_layer
from converter.errors import BlobError, UnsupportedImageError
from converter.oci import Descriptor, ImageManifest, Manifest, media_types
from converter.progress import Progress
from registry_hook.registry import ContentError
from registry_hook.transports import ImageSource

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Compared:
    """Two places, one with what was converted and one with what should have become of it.

    Args:
        source: the former.
        target: the latter.
        prefetch: what the conversion was told to put into the prefetch table; None takes the image's word.
        progress: told how far the check is.
    """

    source: ImageSource
    target: ImageSource
    prefetch: Sequence[str] | None
    progress: Progress

    def original(self, manifest: Manifest, made: ImageManifest) -> ImageManifest:
        """The image that a conversion was made of, or should have been.

        Args:
            manifest: of the source.
            made: the conversion.

        Raises:
            UnsupportedImageError: the conversion was made of something that the source's index does not have.
        """
        if isinstance(manifest, ImageManifest):
            return manifest
        wanted = made.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST)
        for entry in manifest.manifests:
            if str(entry.digest) != wanted:
                continue
            child = self.source.manifest(entry.digest)
            if isinstance(child, ImageManifest):
                return child
        raise UnsupportedImageError(
            f"{made.digest} was made from {wanted}, which is not in {manifest.digest}"
        )

    def compare(self, original: ImageManifest, made: ImageManifest) -> CheckReport:
        """Compares an image with its conversion; for errors see `check_image`."""
        config = self.source.read_blob(original.config)
        files = _DamageIsFound(self.target)
        return check_image(
            original, config, self.source.open_blob, made, files,
            prefetch=self.prefetch, progress=self.progress,
        )  # fmt: skip

    def compare_copy(self, original: Manifest) -> CheckReport:
        """Reads all of an image of the source at the target, where every byte must be the same."""
        report, files = CheckReport(), _DamageIsFound(self.target)
        image = self.target.manifest(original.digest)  # which checks that it has the digest
        blobs = (image.config, *image.layers) if isinstance(image, ImageManifest) else ()
        for blob in blobs:
            if is_foreign_layer(blob):
                continue
            self.progress.advance("original", 0, blob.size)
            try:
                with files.open_blob(blob) as stream:
                    while stream.read(_BLOCK):
                        pass
            except BlobError as error:
                report.add(str(error))
            report.blobs += 1
            report.blob_bytes += blob.size
            self.progress.advance("original", blob.size, blob.size)
        return report


class _DamageIsFound:
    """The parts of a conversion; implements ImageFiles. A part that does not have its digest is a finding."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def read_blob(self, descriptor: Descriptor) -> bytes:
        with _damage():
            return self._source.read_blob(descriptor)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        with _damage(), self._source.open_blob(descriptor) as stream:
            yield stream

    @contextmanager
    def open_seekable(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        with _damage(), self._source.open_seekable(descriptor) as file:
            yield file


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except ContentError as error:
        raise BlobError(str(error)) from error
