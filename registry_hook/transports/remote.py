"""Images in a registry: `docker://HOST/REPOSITORY[:TAG|@DIGEST]`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from converter.oci import Descriptor, Digest, Manifest, Reference
from registry_hook.registry import RegistryClient, SizeMismatchError
from registry_hook.transports.blob_files import MAX_CONFIG_BYTES
from registry_hook.transports.errors import InvalidLocationError

KEPT_SUFFIX: Final = ".dh-source"


class RegistrySource:
    """An image in a registry; implements ImageSource. A tag is resolved once, when it is first needed."""

    has_manifests: Final = True

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        self._client = client
        self._reference = reference
        self._image: Manifest | None = None

    def manifest(self, digest: Digest | None = None) -> Manifest:
        """See ImageSource."""
        if digest is not None:
            return self._client.manifest(self._reference.repository, str(digest))
        if self._image is None:
            self._image = self._client.manifest(self._reference.repository, self._reference.locator)
        return self._image

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """See ImageSource."""
        return self._client.open_blob(self._reference.repository, descriptor)

    def open_seekable(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """See ImageSource."""
        return self._client.open_seekable(self._reference.repository, descriptor)

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """See ImageSource."""
        if descriptor.size > MAX_CONFIG_BYTES:
            raise SizeMismatchError(f"blob {descriptor.digest}", MAX_CONFIG_BYTES, descriptor.size)
        with self.open_blob(descriptor) as stream:
            return stream.read()


class RegistrySink:
    """Writes an image to a registry; implements ImageSink.

    Raises:
        InvalidLocationError: `reference` is a digest, which a new image cannot be given.
    """

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        if reference.tag is None:
            raise InvalidLocationError(f"docker://{reference} names no tag to write to")
        self._client = client
        self._repository = reference.repository
        self._tag = reference.tag

    def has_blob(self, descriptor: Descriptor) -> bool:
        """See ImageSink."""
        return self._client.blob_size(self._repository, descriptor.digest) == descriptor.size

    def put_blob(self, descriptor: Descriptor, source: Path | bytes) -> None:
        """See ImageSink."""
        self._client.put_blob(self._repository, descriptor, source)

    def put_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        return self._put(str(Digest.of(raw)), raw, media_type)

    def keep_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink. It gets a tag made of its digest, which says that it is not for users."""
        return self._put(f"sha256-{Digest.of(raw).hex}{KEPT_SUFFIX}", raw, media_type)

    def publish(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        return self._put(self._tag, raw, media_type)

    def _put(self, reference: str, raw: bytes, media_type: str) -> Descriptor:
        self._client.put_manifest(self._repository, reference, raw, media_type)
        return Descriptor(media_type, Digest.of(raw), len(raw))
