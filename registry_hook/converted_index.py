"""The index of converted images that stands for an index of source images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.oci import Descriptor, ImageIndex, encode_json, media_types, parse_manifest


def converted_index(
    source: ImageIndex, entries: Sequence[Descriptor], *, has_subject: bool = True
) -> ImageIndex:
    """Builds the index; equal input, equal bytes. It is Docker's manifest list if all images are Docker's.

    Args:
        source: becomes the subject. Its annotations are kept.
        entries: converted images with the platforms and annotations that the source gives them.
        has_subject: not for images that clients must not find by the source's referrers.
    """
    is_docker = all(entry.media_type == media_types.DOCKER_MANIFEST for entry in entries)
    media_type = media_types.DOCKER_INDEX if entries and is_docker else media_types.OCI_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [entry.to_json() for entry in entries],
        **({"subject": source.descriptor.to_json()} if has_subject else {}),
        "annotations": {**source.annotations, media_types.ANNOTATION_SOURCE_DIGEST: str(source.digest)},
    }
    index = parse_manifest(encode_json(document), media_type)
    assert isinstance(index, ImageIndex)  # noqa: S101 - follows from the media type
    return index


def listed_as(entry: Descriptor, image: Descriptor) -> Descriptor:
    """The entry of a converted image, which says of it what the source's index says of its original."""
    return replace(image, platform=entry.platform, annotations=entry.annotations)
