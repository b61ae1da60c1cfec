"""The index that offers an image and its conversion under one name (docs/nydus-image.md §1.7).

The images of the source come first, as they are, so a client that knows nothing of Nydus finds them; then the
conversions, each marked by its artifact type and with the platform of its image. The reference's tools put an
empty layer into each image of the source; here its manifests stay as they are, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from converter.classify import Kind, classify, is_image_entry, is_nydus_entry
from converter.oci import Descriptor, Digest, ImageIndex, Manifest, encode_json, media_types, parse_manifest


def merged_index(
    source: Manifest, originals: Sequence[Descriptor], converted: Sequence[Descriptor]
) -> ImageIndex:
    """Builds the index; equal input, equal bytes.

    Args:
        source: the image or index that was converted.
        originals: its images, each with its platform, and whatever else an index has; see `is_original`.
        converted: the conversions, each with the platform of its original: clients match the two by that.
    """
    kept = source.annotations if isinstance(source, ImageIndex) else {}
    # A merged index that is merged again still stands for what it was first made of.
    digest = merged_from(source) or source.digest
    marked = [replace(entry, artifact_type=media_types.NYDUS_MANIFEST) for entry in converted]
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [entry.to_json() for entry in (*originals, *marked)],
        # No subject: a client that asks for referrers of the source must find the conversion, not this.
        "annotations": {**kept, media_types.ANNOTATION_SOURCE_DIGEST: str(digest)},
    }
    index = parse_manifest(encode_json(document), media_types.OCI_INDEX)
    assert isinstance(index, ImageIndex)  # noqa: S101 - follows from the media type
    return index


def is_original(entry: Descriptor, read: Callable[[Digest], Manifest]) -> bool:
    """Whether an entry of the source is kept: all but conversions, of ours or of others, which are replaced.

    Args:
        entry: of the source's index.
        read: gives an image of it; only for entries that do not tell.
    """
    if is_nydus_entry(entry):
        return False
    return not is_image_entry(entry) or classify(read(entry.digest)) is not Kind.NYDUS


def merged_from(manifest: Manifest) -> Digest | None:
    """The source that an index of ours offers together with its conversion; None for anything else."""
    if not isinstance(manifest, ImageIndex) or manifest.subject is not None:
        return None
    if not conversions_in(manifest):
        return None
    named = manifest.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST)
    return Digest.parse(named) if named else None


def conversions_in(merged: ImageIndex) -> tuple[Descriptor, ...]:
    """The conversions that an index of ours offers beside the images of its source."""
    return tuple(entry for entry in merged.manifests if entry.artifact_type == media_types.NYDUS_MANIFEST)
