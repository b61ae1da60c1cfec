"""Compares an image, or the images of an index, with what became of them: `dragonhook check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converter.check import CheckReport
from converter.classify import Kind, classify, is_image_entry
from converter.errors import UnsupportedImageError
from converter.nydus_image import describe_other
from converter.oci import Descriptor, ImageIndex, ImageManifest, Manifest, Platform
from converter.progress import Progress
from registry_hook.checking_merged import check_merged
from registry_hook.chosen_images import is_for
from registry_hook.compared import Compared
from registry_hook.converted_index import converted_index
from registry_hook.merged_index import merged_from
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
    source: ImageSource,
    target: ImageSource,
    prefetch: Sequence[str] | None,
    progress: Progress,
    platforms: Sequence[Platform] = (),
) -> Iterator[Checked]:
    """Compares an image with its conversion, or an index with the converted one, image by image.

    Args:
        source: what was converted. Of an index that offers an image and its conversion, that image.
        target: what should have become of it. A single image may have been made of one image of an index.
        prefetch: what the conversion was told to put into the prefetch table; None takes the image's word.
        progress: told how far it is.
        platforms: which images of an index were to be converted; none means all.

    Raises:
        UnsupportedImageError: there is nothing to compare.
        ConvertError: the source is damaged.
        TransportError, RegistryError: something cannot be read.
    """
    compared = Compared(source, target, prefetch, progress)
    manifest, made = source.manifest(), target.manifest()
    if (merged := merged_from(manifest)) is not None:
        manifest = source.manifest(merged)
    if isinstance(made, ImageManifest):
        yield Checked(str(made.digest), compared.compare(compared.original(manifest, made), made))
    elif merged_from(made) is not None:
        for name, report in check_merged(compared, manifest, made, platforms):
            yield Checked(name, report)
    elif isinstance(manifest, ImageIndex):
        yield from _check_index(compared, manifest, made, platforms)
    else:
        raise UnsupportedImageError(f"{made.digest} is an index, but {manifest.digest} is a single image")


def _check_index(
    compared: Compared, source: ImageIndex, made: ImageIndex, platforms: Sequence[Platform]
) -> Iterator[Checked]:
    for entry in made.manifests:
        child = compared.target.manifest(entry.digest)
        if isinstance(child, ImageManifest) and classify(child) is Kind.EROFS:
            raise UnsupportedImageError(f"{child.digest} is not a Nydus image but {describe_other(child)}")
    yield Checked("index", _compare_indexes(source, made, platforms))
    for entry in made.manifests:
        child = compared.target.manifest(entry.digest)
        if isinstance(child, ImageManifest) and classify(child) is Kind.NYDUS:
            original = compared.original(source, child)
            report = compared.compare(original, child)
            names = [str(other.platform) for other in source.manifests if other.digest == original.digest]
            if str(entry.platform) not in names:
                report.add(f"the index says it is for {entry.platform}, the source's for {', '.join(names)}")
        else:
            report = _check_kept(source, entry, child)
        yield Checked(str(entry.platform or entry.digest), report)


def _check_kept(source: ImageIndex, entry: Descriptor, child: Manifest) -> CheckReport:
    """Checks an image that is no conversion: only what may not be distributed stays as the source has it."""
    report = CheckReport()
    if entry.digest not in {other.digest for other in source.manifests}:
        report.add(f"{entry.digest} is neither a conversion nor an image of the source")
    elif (kind := classify(child)) is not Kind.FOREIGN:
        report.add(f"{entry.digest} was not converted, although it is {kind.described}")
    return report


def _compare_indexes(source: ImageIndex, made: ImageIndex, platforms: Sequence[Platform]) -> CheckReport:
    """Compares all but the images: each one of the source must be there, as itself or converted."""
    report = CheckReport()
    images = [entry for entry in source.manifests if is_image_entry(entry) and is_for(entry, platforms)]
    if [str(entry.platform) for entry in images] != [str(entry.platform) for entry in made.manifests]:
        have, want = (", ".join(str(e.platform) for e in entries) for entries in (made.manifests, images))
        report.add(f"it has images for {have}, should have {want}")
    elif [entry.annotations for entry in images] != [entry.annotations for entry in made.manifests]:
        report.add("its entries are not annotated as the source's are")
    if converted_index(source, made.manifests).raw != made.raw:
        report.add("its subject, its annotations or the form of its entries are not what they should be")
    return report
