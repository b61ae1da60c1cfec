"""The OCI image layout (OCI image spec 1.1, image-layout.md), without the question where its files lie."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from converter.oci import (
    Descriptor,
    Digest,
    Manifest,
    OciError,
    encode_json,
    parse_manifest,
)
from converter.oci.manifest import MAX_MANIFEST_BYTES
from registry_hook.transports.blob_files import BlobFiles, Files, blob_name
from registry_hook.transports.errors import InvalidLayoutError, NoSuchImageError

LAYOUT_FILE: Final = "oci-layout"
LAYOUT_BYTES: Final = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_FILE: Final = "index.json"
REF_NAME: Final = "org.opencontainers.image.ref.name"
_SHOWN_NAMES: Final = 20


class LayoutSource(BlobFiles):
    """An image in a layout; implements ImageSource.

    Args:
        files: the layout.
        name: the image's name; None for the only image.

    Raises:
        InvalidLayoutError: the files are not a layout.
        NoSuchImageError: it does not hold the image, or several and none is named.
    """

    has_manifests: Final = True

    def __init__(self, files: Files, name: str | None) -> None:
        super().__init__(files)
        _check_version(self._read_small(LAYOUT_FILE), files.where)
        self._image = find_image(self._read_small(INDEX_FILE), name, files.where)

    @property
    def name(self) -> str | None:
        """The image's name in the layout, also if it was not asked for by name."""
        return self._image.annotations.get(REF_NAME) or None

    def manifest(self, digest: Digest | None = None) -> Manifest:
        """See ImageSource."""
        if digest is None:
            return parse_manifest(self._read(self._image, MAX_MANIFEST_BYTES), self._image.media_type)
        stream, size = self._open_file(blob_name(digest))
        stream.close()
        return parse_manifest(self._read(replace(self._image, digest=digest, size=size), MAX_MANIFEST_BYTES))


def find_image(index: bytes, name: str | None, where: str) -> Descriptor:
    """Looks an image up in the bytes of an `index.json`.

    Raises:
        InvalidLayoutError: the bytes are not an index.
        NoSuchImageError: there is not exactly one such image.
    """
    entries = _entries(index, where)
    if name is not None:
        entries = [entry for entry in entries if _name_of(entry) == name]
    if len(entries) != 1:
        wanted = f"images named {name!r}" if name is not None else "images"
        raise NoSuchImageError(
            f"{where} has {len(entries)} {wanted} instead of one; names: {_names(_entries(index, where))}"
        )
    try:
        return Descriptor.from_json(entries[0])
    except OciError as error:
        raise InvalidLayoutError(f"{where}: {INDEX_FILE}: {error}") from error


def add_image(index: bytes | None, descriptor: Descriptor, name: str | None, where: str) -> bytes:
    """Adds an image to the bytes of an `index.json` (None: there is none yet).

    An entry of the same name, or of the same digest without a name, is replaced. Others stay as they are.

    Raises:
        InvalidLayoutError: the bytes are not an index.
    """
    document: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
    if index is not None:
        document = _document(index, where)
    entry = descriptor.to_json()
    if name is not None:
        entry["annotations"] = {**entry.get("annotations", {}), REF_NAME: name}

    kept = []
    for other in document["manifests"]:
        other_name = _name_of(other)
        same_digest = str(other.get("digest")) == entry["digest"]
        if not (same_digest if other_name is None else other_name == name):
            kept.append(other)
    return encode_json({**document, "manifests": [*kept, entry]})


def _check_version(raw: bytes, where: str) -> None:
    try:
        version = json.loads(raw)["imageLayoutVersion"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidLayoutError(f"{where}: {LAYOUT_FILE} names no version of the layout") from error
    if not isinstance(version, str) or not version.startswith("1."):
        raise InvalidLayoutError(f"{where}: layout version {version!r:.40} is unknown; 1.0.0 is known")


def _document(index: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(index)
    except (ValueError, RecursionError) as error:
        raise InvalidLayoutError(f"{where}: {INDEX_FILE} is not JSON: {error}") from error
    if isinstance(document, dict):
        entries = document.get("manifests")
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            return document
    raise InvalidLayoutError(f"{where}: {INDEX_FILE} is not an image index")


def _entries(index: bytes, where: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = _document(index, where)["manifests"]
    return entries


def _names(entries: list[dict[str, Any]]) -> str:
    """The names of images for a message, and how many have none."""
    names = [_name_of(entry) for entry in entries]
    shown = [repr(name) for name in sorted({name for name in names if name is not None})[:_SHOWN_NAMES]]
    if unnamed := names.count(None):
        shown.append(f"{unnamed} without a name")
    return ", ".join(shown) or "none"


def _name_of(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) and name else None
