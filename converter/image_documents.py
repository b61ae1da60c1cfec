"""The JSON documents of a converted image: its config and its manifest (docs/nydus-image.md §1.2 to §1.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from converter.errors import InvalidImageError, LimitExceededError
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.oci.errors import InvalidManifestError
from converter.options import ConvertOptions

HISTORY_ENTRY: Final = {"created_by": "Nydus Converter", "comment": "Nydus Bootstrap Layer"}
_MANIFEST_TYPE: Final = {"oci": media_types.OCI_MANIFEST, "docker": media_types.DOCKER_MANIFEST}
_CONFIG_TYPE: Final = {"oci": media_types.OCI_CONFIG, "docker": media_types.DOCKER_CONFIG}


def parse_config(config: bytes, layer_count: int) -> dict[str, Any]:
    """Reads an image config.

    Args:
        config: its bytes.
        layer_count: layers of the manifest, each of which needs a diff id.

    Raises:
        InvalidImageError: not a JSON object with `layer_count` well-formed diff ids.
    """
    try:
        document = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise InvalidImageError(f"the image config is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(rootfs := document.get("rootfs"), dict):
        raise InvalidImageError("the image config lacks rootfs")
    diff_ids = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list) or len(diff_ids) != layer_count:
        raise InvalidImageError(
            f"the image config does not have one diff id for each of {layer_count} layers"
        )
    if not isinstance(document.get("history") or [], list):
        raise InvalidImageError("the history of the image config is not a list")
    return document


def convert_config(source: Mapping[str, Any], diff_ids: Sequence[Digest]) -> bytes:
    """The config of the converted image: the source's, with other diff ids and one more line of history.

    Args:
        source: as `parse_config` gave it.
        diff_ids: of all layers, the bootstrap layer last.

    Raises:
        InvalidImageError: the source has text that is not Unicode, or a number like NaN or 1e999.
    """
    rootfs = source["rootfs"] | {"diff_ids": [str(diff_id) for diff_id in diff_ids]}
    history = [*(source.get("history") or []), HISTORY_ENTRY]
    return encode_config({**source, "rootfs": rootfs, "history": history})


def encode_config(document: Mapping[str, Any]) -> bytes:
    """Writes an image config whose content is the source's but for layers and history.

    Raises:
        InvalidImageError: it has text that is not Unicode, or a number like NaN or 1e999.
    """
    try:
        return encode_json(document)
    except UnicodeEncodeError as error:
        raise InvalidImageError(f"the image config has text that is not Unicode: {error}") from error
    except ValueError as error:
        raise InvalidImageError(f"the image config has a number that JSON does not have: {error}") from error


def convert_manifest(
    source: ImageManifest,
    config: bytes,
    layers: Sequence[Descriptor],
    subject: Descriptor | None,
    options: ConvertOptions,
    dictionary: Sequence[Digest] = (),
) -> ImageManifest:
    """The manifest of the converted image, of the types that the options say, whatever the source's are.

    Annotations of the source are kept. Annotations and subject are not of Docker's schema 2, but its readers
    pass over what they do not know, and those of Nydus look for them there, too.

    Args:
        source: the manifest that was converted.
        config: config of the converted image.
        layers: all layers, the bootstrap layer last.
        subject: what to refer to, usually the source.
        options: RAFS version and media types.
        dictionary: the images of the chunk dictionary.

    Raises:
        InvalidImageError: the source has annotations that are not Unicode.
        LimitExceededError: the manifest is larger than registries take.
    """
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE[options.media_types],
        "config": Descriptor(_CONFIG_TYPE[options.media_types], Digest.of(config), len(config)).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if subject is not None:
        # Some registries refuse a subject with a platform, and it means nothing there.
        document["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
    document["annotations"] = {
        **source.annotations,
        media_types.ANNOTATION_SOURCE_DIGEST: str(source.digest),
        media_types.ANNOTATION_NYDUS_FS_VERSION: str(options.fs_version),
        **({media_types.ANNOTATION_DICTIONARY: ",".join(map(str, dictionary))} if dictionary else {}),
    }
    return encode_manifest(document, source)


def encode_manifest(document: Mapping[str, Any], source: ImageManifest) -> ImageManifest:
    """Writes the manifest of an image that was made of another one, and reads it as others will.

    Args:
        document: the manifest.
        source: what the image was made of.

    Raises:
        InvalidImageError: the annotations, which are the source's, are not Unicode.
        LimitExceededError: the manifest would be too large.
    """
    try:
        manifest = parse_manifest(encode_json(document))
    except UnicodeEncodeError as error:
        raise InvalidImageError(f"{source.digest} has annotations that are not Unicode: {error}") from error
    except InvalidManifestError as error:
        raise LimitExceededError(f"the converted image cannot be described: {error}") from error
    if not isinstance(manifest, ImageManifest):
        raise AssertionError("what was written as an image manifest was read as something else")
    return manifest
