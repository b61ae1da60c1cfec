"""Checks an index that offers images together with their conversions (`merged_index`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from converter.check import CheckReport
from converter.classify import Kind, classify
from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, Manifest, Platform, media_types
from converter.platforms import platform_of
from registry_hook.chosen_images import is_for
from registry_hook.compared import Compared
from registry_hook.converted_index import listed_as
from registry_hook.merged_index import is_original, merged_index


def check_merged(
    compared: Compared, source: Manifest, made: ImageIndex, platforms: Sequence[Platform]
) -> Iterator[tuple[str, CheckReport]]:
    """Checks the index, the images of the source, which must be there byte for byte, and the conversions.

    Args:
        compared: where all that is.
        source: what was converted.
        made: the merged index.
        platforms: which images were to be converted; none means all.

    Returns:
        A name and a report for each.

    Raises:
        See `checking.check_one`.
    """
    originals = list(_originals(compared, source))
    conversions = {}
    for entry in made.manifests:
        if entry.artifact_type != media_types.NYDUS_MANIFEST:
            continue
        child = compared.target.manifest(entry.digest)
        if isinstance(child, ImageManifest):
            conversions[compared.original(source, child).digest] = child
    yield "index", _compare_index(source, made, originals, conversions, platforms)
    listed = {entry.digest for entry in made.manifests}
    for entry, image in originals:
        if entry.digest in listed:
            yield f"{entry.platform or entry.digest}, original", compared.compare_copy(image)
    for entry, image in originals:
        if isinstance(image, ImageManifest) and image.digest in conversions:
            yield str(entry.platform), compared.compare(image, conversions[image.digest])


def _originals(compared: Compared, source: Manifest) -> Iterator[tuple[Descriptor, Manifest]]:
    """The images of the source, and whatever else its index has, as a merged index lists them."""
    entries = source.manifests if isinstance(source, ImageIndex) else (source.descriptor,)
    for entry in entries:
        if isinstance(source, ImageIndex) and not is_original(entry, compared.source.manifest):
            continue
        image = compared.source.manifest(entry.digest) if isinstance(source, ImageIndex) else source
        if entry.platform is None and isinstance(image, ImageManifest) and classify(image) is Kind.IMAGE:
            entry = replace(entry, platform=platform_of(compared.source.read_blob(image.config)))
        yield entry, image


def _compare_index(
    source: Manifest,
    made: ImageIndex,
    originals: Sequence[tuple[Descriptor, Manifest]],
    conversions: dict[Digest, ImageManifest],
    platforms: Sequence[Platform],
) -> CheckReport:
    report = CheckReport()
    there = {entry.digest for entry in made.manifests}
    expected = []
    for entry, image in originals:
        if entry.digest not in there:
            report.add(f"it lacks the source's {entry.digest} for {entry.platform}")
        conversion = conversions.get(image.digest)
        if conversion is not None:
            expected.append(listed_as(entry, conversion.descriptor))
        elif classify(image) is Kind.IMAGE and is_for(entry, platforms):
            report.add(f"it has no conversion of {entry.digest} for {entry.platform}")
    if merged_index(source, [entry for entry, _ in originals], expected).raw != made.raw:
        report.add("its entries, their order or form, or its annotations are not what they should be")
    return report
