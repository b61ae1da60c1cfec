"""Compares an image, or the images of an index, with what became of them: `dragonhook check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from converter.check import CheckReport, check_image
from converter.classify import Kind, classify, is_image_entry
from converter.errors import BlobError, UnsupportedImageError
from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, Manifest, media_types
from converter.progress import Progress
from registry_hook.converted_index import converted_index
from registry_hook.registry import ContentError
from registry_hook.transports import ImageSource


@dataclass(frozen=True, slots=True)
class Checked:
    """One image of a check.

    Args:
        name: what to call it: its platform, or the digest of the conversion.
        report: what was found.
    """

    name: str
    report: CheckReport


def check_one(
    source: ImageSource, target: ImageSource, prefetch: Sequence[str], progress: Progress
) -> Iterator[Checked]:
    """Compares an image with its conversion, or an index with the converted one, image by image.

    Args:
        source: what was converted.
        target: what should have become of it. A single image may have been made of one image of an index.
        prefetch: what the conversion was told to put into the prefetch table.
        progress: told how far it is.

    Raises:
        UnsupportedImageError: there is nothing to compare.
        ConvertError: the source is damaged.
        TransportError, RegistryError: something cannot be read.
    """
    made = target.manifest()
    if isinstance(made, ImageManifest):
        original = _original(source, made)
        yield Checked(str(made.digest), _check(source, original, target, made, prefetch, progress))
        return
    index = source.manifest()
    if not isinstance(index, ImageIndex):
        raise UnsupportedImageError(f"{made.digest} is an index, but {index.digest} is a single image")
    yield Checked("index", _compare_indexes(index, made))
    for entry in made.manifests:
        child = target.manifest(entry.digest)
        if isinstance(child, ImageManifest) and classify(child) is Kind.NYDUS:
            original = _original(source, child)
            report = _check(source, original, target, child, prefetch, progress)
            if (platform := _platform_of(index, original.digest)) != str(entry.platform):
                report.add(f"the index says it is for {entry.platform}, the source's for {platform}")
        else:
            report = _check_kept(index, entry, child)
        yield Checked(str(entry.platform or entry.digest), report)


def _check_kept(source: ImageIndex, entry: Descriptor, child: Manifest) -> CheckReport:
    """Checks an image that is no conversion: only what may not be distributed stays as the source has it."""
    report = CheckReport()
    if entry.digest not in {other.digest for other in source.manifests}:
        report.add(f"{entry.digest} is neither a conversion nor an image of the source")
    elif (kind := classify(child)) is not Kind.FOREIGN:
        report.add(f"{entry.digest} was not converted, although it is {kind.value}")
    return report


def _check(
    source: ImageSource,
    original: ImageManifest,
    target: ImageSource,
    made: ImageManifest,
    prefetch: Sequence[str],
    progress: Progress,
) -> CheckReport:
    config = source.read_blob(original.config)
    files = _DamageIsFound(target)
    return check_image(original, config, source.open_blob, made, files, prefetch=prefetch, progress=progress)


def _original(source: ImageSource, made: ImageManifest) -> ImageManifest:
    """The image that a conversion was made of, or should have been."""
    manifest = source.manifest()
    if isinstance(manifest, ImageManifest):
        return manifest
    wanted = made.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST)
    for entry in manifest.manifests:
        if str(entry.digest) == wanted and isinstance(child := source.manifest(entry.digest), ImageManifest):
            return child
    raise UnsupportedImageError(f"{made.digest} was made from {wanted}, which is not in {manifest.digest}")


def _compare_indexes(source: ImageIndex, made: ImageIndex) -> CheckReport:
    """Compares all but the images: each one of the source must be there, as itself or converted."""
    report = CheckReport()
    images = [entry for entry in source.manifests if is_image_entry(entry)]
    if [str(entry.platform) for entry in images] != [str(entry.platform) for entry in made.manifests]:
        have, want = (", ".join(str(e.platform) for e in entries) for entries in (made.manifests, images))
        report.add(f"it has images for {have}, should have {want}")
    if converted_index(source, made.manifests).raw != made.raw:
        report.add("its subject, its annotations or the form of its entries are not what they should be")
    return report


def _platform_of(index: ImageIndex, digest: Digest) -> str:
    return next(str(entry.platform) for entry in index.manifests if entry.digest == digest)


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
