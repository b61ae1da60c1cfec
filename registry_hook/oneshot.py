"""Converts one image from one place to another, without the service: `dragonhook convert`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from converter.classify import check_convertible
from converter.errors import UnsupportedImageError
from converter.image import ConvertedImage, convert_image
from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, Manifest, Platform
from converter.options import ConvertOptions
from converter.platforms import platform_of
from converter.progress import Progress
from registry_hook.chosen_images import ImageEntry, choose_images
from registry_hook.converted_index import converted_index, listed_as
from registry_hook.dictionaries import NamedDictionaries
from registry_hook.merged_index import is_original, merged_index
from registry_hook.transports import ImageSink, ImageSource, copy_image


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversion made.

    Args:
        descriptor: the converted image or index.
        kept: images that stand in the index as the source has them, each with the reason.
        copied: layers that had to be converted although the image refers to others, each with the reason.
    """

    descriptor: Descriptor
    kept: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()


def convert_one(
    source: ImageSource,
    sink: ImageSink,
    options: ConvertOptions,
    progress: Progress,
    work_dir: Path | None,
    platforms: Sequence[Platform] = (),
    dictionaries: NamedDictionaries | None = None,
    *,
    merged: bool = False,
) -> Outcome:
    """Converts an image, or the images of an index.

    Args:
        source: what to convert.
        sink: where the result goes; nothing of it before all of it is converted.
        options: how to convert.
        progress: told how far it is.
        work_dir: where to keep the result meanwhile; None takes the system's temporary directory.
        platforms: which images of an index; none means all. For a single platform the result is its image,
            else an index.
        dictionaries: images to borrow chunks from. Their blobs are copied where the destination lacks them.
        merged: the result is an index of the images of the source, as they are, and of their conversions.

    Raises:
        UnsupportedImageError: there is no image that can be converted, or none for a platform.
        DictionaryError: an image cannot be a dictionary for this conversion.
        ConvertError: an image is damaged or does not fit into RAFS.
    """
    with ExitStack() as directories:
        conversion = _Conversion(source, sink, options, progress, work_dir, directories, dictionaries)
        chosen = choose_images(source, platforms)
        if merged:
            return conversion.merged(chosen.source, chosen.images)
        if chosen.as_index and isinstance(chosen.source, ImageIndex):
            return conversion.index(chosen.source, chosen.images)
        return conversion.image(chosen.images[0][1])


@dataclass(frozen=True, slots=True)
class _Conversion:
    """One conversion, from a source to a sink."""

    source: ImageSource
    sink: ImageSink
    options: ConvertOptions
    progress: Progress
    work_dir: Path | None
    directories: ExitStack
    dictionaries: NamedDictionaries | None

    def image(self, manifest: ImageManifest) -> Outcome:
        """Converts an image and publishes it."""
        converted = self._convert(manifest)
        self._put_blobs(manifest, converted)
        published = self.sink.publish(converted.manifest.raw, converted.manifest.media_type)
        return Outcome(published, copied=_copied(converted))

    def index(self, source: ImageIndex, chosen: Sequence[ImageEntry]) -> Outcome:
        """Converts images of an index and publishes an index of them."""
        results, kept = self._convert_all(chosen)
        entries = []
        for entry, image, converted in results:
            if converted is None:
                copy_image(self.source, self.sink, image, self.work_dir)
                entries.append(entry)
            else:
                entries.append(listed_as(entry, self._put(image, converted)))
        index = converted_index(source, entries)
        published = self.sink.publish(index.raw, index.media_type)
        return Outcome(published, kept, _copied(*(made for _, _, made in results)))

    def merged(self, source: Manifest, chosen: Sequence[ImageEntry]) -> Outcome:
        """Converts images and publishes an index of all images of the source and the conversions.

        A source that is merged already gives the index that its own source would give.
        """
        if not self.source.has_manifests:
            raise UnsupportedImageError(
                "a merged index keeps the source's manifest, and this source has none"
            )
        results, kept = self._convert_all(chosen)
        own = {image.digest: platform_of(self.source.read_blob(image.config)) for _, image, _ in results}
        if any(entry.platform is None and own[entry.digest] is None for entry, _, _ in results):
            raise UnsupportedImageError(
                f"an image of {source.digest} names no platform, by which a merged index matches conversions"
            )
        originals = []
        for entry in source.manifests if isinstance(source, ImageIndex) else [source.descriptor]:
            if isinstance(source, ImageIndex) and not is_original(entry, self.source.manifest):
                continue
            child = self.source.manifest(entry.digest) if isinstance(source, ImageIndex) else source
            if not isinstance(child, ImageManifest):
                raise UnsupportedImageError(f"{entry.digest} is an index inside the index {source.digest}")
            copy_image(self.source, self.sink, child, self.work_dir)
            originals.append(replace(entry, platform=entry.platform or own.get(entry.digest)))
        conversions = [
            listed_as(
                replace(entry, platform=entry.platform or own[entry.digest]), self._put(image, converted)
            )
            for entry, image, converted in results
            if converted is not None
        ]
        index = merged_index(source, originals, conversions)
        published = self.sink.publish(index.raw, index.media_type)
        return Outcome(published, kept, _copied(*(made for _, _, made in results)))

    def _convert_all(
        self, chosen: Sequence[ImageEntry]
    ) -> tuple[list[tuple[Descriptor, ImageManifest, ConvertedImage | None]], tuple[str, ...]]:
        """Converts images; gives None for what stays as it is, and the reason for each of those.

        Raises:
            UnsupportedImageError: all of them would stay.
        """
        kept, results = [], list[tuple[Descriptor, ImageManifest, ConvertedImage | None]]()
        made = dict[Digest, ConvertedImage]()  # several entries may name one image
        for entry, image in chosen:
            try:
                check_convertible(image, include_foreign=self.options.include_foreign)
            except UnsupportedImageError as error:
                kept.append(f"{entry.platform or 'an image'}: {error}")
                results.append((entry, image, None))
            else:
                if image.digest not in made:
                    made[image.digest] = self._convert(image)
                results.append((entry, image, made[image.digest]))
        if len(kept) == len(chosen):
            raise UnsupportedImageError("; ".join(kept))
        return results, tuple(kept)

    def _put(self, source: ImageManifest, converted: ConvertedImage) -> Descriptor:
        """Stores a converted image under its digest."""
        self._put_blobs(source, converted)
        return self.sink.put_manifest(converted.manifest.raw, converted.manifest.media_type)

    def _convert(self, image: ImageManifest) -> ConvertedImage:
        work = self.directories.enter_context(TemporaryDirectory(prefix="dragonhook-", dir=self.work_dir))
        config = self.source.read_blob(image.config)
        named = self.dictionaries
        return convert_image(
            image, config, self.source.open_blob, Path(work), self.options, self.progress,
            # A manifest that nobody else has is nothing to refer to.
            subject=image.descriptor if self.source.has_manifests else None,
            dictionary=named.open(platform_of(config), self.options) if named else None,
        )  # fmt: skip

    def _put_blobs(self, source: ImageManifest, image: ConvertedImage) -> None:
        if any(blob.reference for blob in image.blobs):
            # The manifest of the source keeps its layers from being collected as garbage.
            copy_image(self.source, self.sink, source, self.work_dir, keep=True)
        for blob in image.blobs:
            self.sink.put_blob(blob.descriptor, blob.path)
        if self.dictionaries is not None:
            for borrowed in image.borrowed:
                self.dictionaries.copy(borrowed, self.sink, self.work_dir)
        self.sink.put_blob(image.bootstrap.descriptor, image.bootstrap.path)
        self.sink.put_blob(image.manifest.config, image.config)


def _copied(*images: ConvertedImage | None) -> tuple[str, ...]:
    """The layers of OCI-reference images that had to be converted, each with the reason."""
    return tuple(
        f"{layer}: {reason}" for image in images if image for layer, reason in image.stats.copied.items()
    )
