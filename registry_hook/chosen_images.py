"""Which images a one-shot command is about: one, or those of an index for some platforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from converter.classify import Kind, check_convertible, classify, is_image_entry
from converter.errors import UnsupportedImageError
from converter.oci import Descriptor, ImageIndex, ImageManifest, Manifest, Platform
from converter.platforms import matches, platform_of, require_all
from registry_hook.transports import ImageSource

ImageEntry: TypeAlias = tuple[Descriptor, ImageManifest]


@dataclass(frozen=True, slots=True)
class ChosenImages:
    """What was chosen.

    Args:
        source: the manifest or index that the source names.
        images: the images with their entries in the index; an image without an index is its own entry.
        as_index: whether the result is an index, too; a single platform of an index gives its image.
    """

    source: Manifest
    images: Sequence[ImageEntry]
    as_index: bool


def choose_images(source: ImageSource, platforms: Sequence[Platform]) -> ChosenImages:
    """Chooses images.

    Args:
        source: where they are.
        platforms: which images of an index; none means all. An image without an index must be for each.

    Raises:
        UnsupportedImageError: there is no image that can be converted, or none for a platform.
    """
    manifest = source.manifest()
    if isinstance(manifest, ImageManifest):
        if platforms:
            # No index says it here, so the config does.
            config = source.read_blob(manifest.config)
            require_all(f"the image {manifest.digest}", platforms, [platform_of(config)])
        return ChosenImages(manifest, [(manifest.descriptor, manifest)], as_index=False)
    images = _images(source, manifest, platforms)
    return ChosenImages(manifest, images, as_index=len(platforms) != 1 or len(images) != 1)


def _images(source: ImageSource, index: ImageIndex, platforms: Sequence[Platform]) -> list[ImageEntry]:
    """The images of an index for the platforms, without attestations and the like."""
    offered = [entry for entry in index.manifests if is_image_entry(entry)]
    require_all(f"the index {index.digest}", platforms, [entry.platform for entry in offered])
    found = []
    for entry in offered:
        if not is_for(entry, platforms):
            continue
        child = source.manifest(entry.digest)
        if isinstance(child, ImageManifest) and classify(child) in (Kind.IMAGE, Kind.FOREIGN):
            found.append((entry, child))
    if not found:
        if classify(index) is Kind.NYDUS:
            check_convertible(index, include_foreign=False)  # says so
        raise UnsupportedImageError(f"the index {index.digest} has no image that can be converted")
    return found


def is_for(entry: Descriptor, platforms: Sequence[Platform]) -> bool:
    """Whether an entry of an index is for one of some platforms; for any if there are none."""
    if not platforms:
        return True
    return entry.platform is not None and any(matches(entry.platform, wanted) for wanted in platforms)
