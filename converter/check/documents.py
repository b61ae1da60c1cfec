"""Compares the manifest and the config of a conversion with what should be made of the source's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from converter.bootstrap_layer import bootstrap_descriptor
from converter.errors import InvalidImageError
from converter.fs_verity import fs_verity_of_bytes
from converter.image_documents import convert_config, convert_manifest, parse_config
from converter.nydus_image import NydusImage
from converter.oci import Descriptor, Digest, ImageManifest, InvalidDigestError, media_types
from converter.options import ConvertOptions


def compare_config(source: Mapping[str, Any], image: NydusImage) -> Iterator[str]:
    """Compares the config: all but the layers' diff ids and the history must be the source's.

    Args:
        source: the source's config, as `parse_config` gave it.
        image: the conversion.
    """
    diff_ids = [*(layer.digest for layer in image.manifest.layers[:-1]), image.layer.diff_id]
    expected = convert_config(source, diff_ids)
    if image.config == expected:
        return
    try:
        actual = parse_config(image.config, len(diff_ids))
    except InvalidImageError as error:
        yield f"config: {error}"
        return
    yield from _compare_objects("config", json.loads(expected), actual, image.config, expected)


def compare_manifest(source: ImageManifest, image: NydusImage) -> Iterator[str]:
    """Compares the manifest, whose blobs are not looked at here.

    Which chunk dictionary it had, what of it is borrowed, and the fs-verity digests of blobs are taken as the
    manifest says them.
    """
    manifest = image.manifest
    types: Literal["oci", "docker"] = (
        "docker" if manifest.media_type == media_types.DOCKER_MANIFEST else "oci"
    )
    options = ConvertOptions(media_types=types, fs_version=image.bootstrap.version)
    *blobs, bootstrap = manifest.layers
    layers = [_blob_descriptor(blob) for blob in blobs]
    # Kernel-mountable images have such a digest; nothing else in a manifest says that an image is one.
    verity = None
    if media_types.ANNOTATION_BOOTSTRAP_FS_VERITY in bootstrap.annotations:
        verity = fs_verity_of_bytes(image.layer.bootstrap)
    layers.append(bootstrap_descriptor(bootstrap.digest, bootstrap.size, options, verity))
    subject = source.descriptor if manifest.subject is not None else None
    dictionary = manifest.annotations.get(media_types.ANNOTATION_DICTIONARY)
    try:
        pinned = [Digest.parse(text) for text in dictionary.split(",")] if dictionary else []
    except InvalidDigestError as error:
        yield f"manifest: {media_types.ANNOTATION_DICTIONARY}: {error}"
        return
    expected = convert_manifest(source, image.config, layers, subject, options, pinned)
    if expected.raw != manifest.raw:
        yield from _compare_objects(
            "manifest", json.loads(expected.raw), json.loads(manifest.raw), manifest.raw, expected.raw
        )


def _blob_descriptor(blob: Descriptor) -> Descriptor:
    borrowed = media_types.ANNOTATION_BORROWED_FROM in blob.annotations
    marks = {**(blob.annotations if borrowed else {}), media_types.ANNOTATION_NYDUS_BLOB: "true"}
    if media_types.ANNOTATION_NYDUS_REF in blob.annotations:  # held against the source with the blob
        marks[media_types.ANNOTATION_NYDUS_REF] = blob.annotations[media_types.ANNOTATION_NYDUS_REF]
    if media_types.ANNOTATION_FS_VERITY in blob.annotations:
        marks[media_types.ANNOTATION_FS_VERITY] = blob.annotations[media_types.ANNOTATION_FS_VERITY]
    if media_types.ANNOTATION_REFERS_TO in blob.annotations:  # held against the bootstrap in the blob
        marks[media_types.ANNOTATION_REFERS_TO] = blob.annotations[media_types.ANNOTATION_REFERS_TO]
    return Descriptor(media_types.NYDUS_BLOB, blob.digest, blob.size, marks)


def _compare_objects(
    what: str, want: dict[str, Any], have: dict[str, Any], raw: bytes, expected_raw: bytes
) -> Iterator[str]:
    found = False
    for path, wanted, had in _differences(want, have):
        found = True
        yield f"{what}: {path} is {_short(had)}, should be {_short(wanted)}"
    if not found and raw != expected_raw:
        yield f"{what}: its bytes are not those that go with its content"


_ABSENT = object()


def _differences(want: object, have: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    if isinstance(want, dict) and isinstance(have, dict):
        for key in sorted(want.keys() | have.keys()):
            below = f"{path}.{key}" if path else key
            yield from _differences(want.get(key, _ABSENT), have.get(key, _ABSENT), below)
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for number, pair in enumerate(zip(want, have, strict=True)):
            yield from _differences(*pair, f"{path}[{number}]")
    elif want != have or type(want) is not type(have):
        yield path or "the whole", want, have


def _short(value: object) -> str:
    text = "absent" if value is _ABSENT else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
