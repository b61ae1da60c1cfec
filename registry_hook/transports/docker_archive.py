"""Images as `docker save` writes them: a tar with a `manifest.json`.

The list in `manifest.json` names a config and layer tars (Moby image specification 1.2, "Combined Image JSON
+ Filesystem Changeset Format"). Docker 25 and later adds an OCI layout; where that has a manifest of the same
config, the manifest is used. Other engines keep none, and one is made here, always the same for the same
layers.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    Manifest,
    OciError,
    encode_json,
    media_types,
    parse_manifest,
)
from converter.oci.manifest import MAX_MANIFEST_BYTES
from registry_hook.transports.blob_files import BlobFiles, blob_name
from registry_hook.transports.errors import InvalidLayoutError, NoSuchImageError
from registry_hook.transports.layout import INDEX_FILE
from registry_hook.transports.members import TarMembers

_LIST_FILE: Final = "manifest.json"
_MAX_LAYERS: Final = 1000  # engines stop at 127
_MAX_INDEX_DEPTH: Final = 3
_READ_BYTES: Final = 256 * 1024
_LAYER_TYPES: Final = (
    (b"\x1f\x8b", media_types.DOCKER_LAYER_GZIP), (b"\x28\xb5\x2f\xfd", media_types.DOCKER_LAYER_ZSTD),
)  # fmt: skip


class DockerArchiveSource(BlobFiles):
    """The one image of an archive; implements ImageSource.

    Args:
        members: the files of the archive, links followed.

    Raises:
        InvalidLayoutError: the archive is not one of `docker save`.
        NoSuchImageError: it holds no image, or several.
    """

    def __init__(self, members: TarMembers) -> None:
        super().__init__(members)
        self._members = members
        config_name, layer_names = self._listed()
        config = self._describe(config_name, media_types.DOCKER_CONFIG)
        self._names = {config.digest: config_name}
        kept = self._kept_manifest(config.digest)
        self.has_manifests = kept is not None
        self._image = kept or self._made_manifest(config, layer_names)

    def manifest(self, digest: Digest | None = None) -> Manifest:
        """See ImageSource."""
        if digest not in (None, self._image.digest):
            raise NoSuchImageError(f"{self._files.where} has no manifest {digest}")
        return self._image

    def _blob_name(self, digest: Digest) -> str:
        return self._names.get(digest, blob_name(digest))

    def _listed(self) -> tuple[str, list[str]]:
        """The names of the config and of the layers, lowest first."""
        try:
            images = json.loads(self._read_small(_LIST_FILE))
        except (ValueError, RecursionError) as error:
            raise InvalidLayoutError(f"{self._files.where}: {_LIST_FILE} is not JSON: {error}") from error
        if not isinstance(images, list) or len(images) != 1:
            count = len(images) if isinstance(images, list) else "no list of"
            raise NoSuchImageError(f"{self._files.where} has {count} images instead of one")
        image = images[0] if isinstance(images[0], dict) else {}
        config, layers = image.get("Config"), image.get("Layers") or []
        if not isinstance(config, str) or not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
            raise InvalidLayoutError(f"{self._files.where}: {_LIST_FILE} names no config and layers")
        if not all(isinstance(layer, str) for layer in layers):
            raise InvalidLayoutError(f"{self._files.where}: {_LIST_FILE} names layers that are not text")
        return config, layers

    def _describe(self, name: str, media_type: str) -> Descriptor:
        """Reads a file once, for its digest."""
        stream, size = self._open_file(name)
        digest = hashlib.sha256()
        with stream:
            while piece := stream.read(_READ_BYTES):
                digest.update(piece)
        return Descriptor(media_type, Digest(digest.hexdigest()), size)

    def _made_manifest(self, config: Descriptor, layer_names: list[str]) -> ImageManifest:
        layers = []
        for name in layer_names:
            layers.append(self._describe(name, self._layer_type(name)))
            self._names[layers[-1].digest] = name
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        manifest = parse_manifest(encode_json(document))
        assert isinstance(manifest, ImageManifest)  # noqa: S101 - follows from the media type
        return manifest

    def _layer_type(self, name: str) -> str:
        stream, _ = self._open_file(name)
        with stream:
            start = stream.read(4)
        return next(
            (kind for magic, kind in _LAYER_TYPES if start.startswith(magic)), media_types.DOCKER_LAYER
        )

    def _kept_manifest(self, config: Digest) -> ImageManifest | None:
        """The manifest of the archive's OCI layout with this config, if there is one with all its blobs."""
        if INDEX_FILE not in self._members:
            return None
        try:
            index = parse_manifest(self._read_small(INDEX_FILE), media_types.OCI_INDEX)
        except OciError:
            return None  # it is an addition, and the archive is complete without it
        found = self._find(index, config, _MAX_INDEX_DEPTH)
        if found is None or not all(blob_name(layer.digest) in self._members for layer in found.layers):
            return None
        return found

    def _find(self, manifest: Manifest, config: Digest, depth: int) -> ImageManifest | None:
        if isinstance(manifest, ImageManifest):
            return manifest if manifest.config.digest == config else None
        for entry in manifest.manifests if depth else ():
            child = self._child(entry)
            found = self._find(child, config, depth - 1) if child is not None else None
            if found is not None:
                return found
        return None

    def _child(self, entry: Descriptor) -> ImageManifest | ImageIndex | None:
        name = blob_name(entry.digest)
        if name not in self._members or entry.size > MAX_MANIFEST_BYTES:
            return None
        try:
            return parse_manifest(self.read_blob(entry), entry.media_type)
        except OciError:
            return None  # an attestation of a type unknown here, perhaps
