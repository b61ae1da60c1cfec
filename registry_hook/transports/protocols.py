"""What an image can be read from, and written to."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from converter.oci import Descriptor, Digest, Manifest


class ImageSource(Protocol):
    """One image, or an index of images, to read.

    Attributes:
        has_manifests: whether manifests come from the source itself, so that others can refer to them; False
            if they are made of what the source has instead.
    """

    @property
    def has_manifests(self) -> bool:
        """See above."""
        ...

    def manifest(self, digest: Digest | None = None) -> Manifest:
        """Reads a manifest.

        Args:
            digest: of a child of the index; None for the image or index that the reference names.

        Raises:
            DigestMismatchError: the bytes do not have the digest they should have.
            InvalidManifestError: the bytes are not a manifest we can use.
        """
        ...

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob; the stream raises instead of handing out the last byte of wrong content."""
        ...

    def open_seekable(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob for reading anywhere in it. Only its length is checked, so the caller checks the rest.

        Raises:
            SizeMismatchError: it has another length.
        """
        ...

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """Reads a small blob (a config) whole and checked.

        Raises:
            SizeMismatchError: it is longer than 4 MiB, which no config is.
        """
        ...


class ImageSink(Protocol):
    """A place for one image or index; the order is blobs, manifests, then `publish`."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there already."""
        ...

    def put_blob(self, descriptor: Descriptor, source: Path | bytes) -> None:
        """Stores a blob, unless it is there.

        Raises:
            DigestMismatchError: `source` is not what the descriptor says.
            SizeMismatchError: the same, for its length.
        """
        ...

    def put_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """Stores a manifest under its digest only: a child of an index."""
        ...

    def keep_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """Stores a manifest that nothing leads to, so that no garbage collection takes it."""
        ...

    def publish(self, raw: bytes, media_type: str) -> Descriptor:
        """Stores the manifest of the image (or index) under the name of the reference; the last step."""
        ...
