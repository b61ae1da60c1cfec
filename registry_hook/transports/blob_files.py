"""Blobs that are files: in a directory, or in a tar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import BinaryIO, Final, Protocol

from converter.oci import Descriptor, Digest
from converter.oci.manifest import MAX_MANIFEST_BYTES
from registry_hook.registry.errors import SizeMismatchError
from registry_hook.registry.verified import ONCE, open_verified
from registry_hook.transports.errors import InvalidLayoutError

MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024


class Files(Protocol):
    """The files of a layout or archive."""

    where: str

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """Opens a file.

        Args:
            name: path within the layout, with `/`.

        Returns:
            A stream from its start, to be closed by the caller, and its length in bytes.

        Raises:
            FileNotFoundError: there is no such regular file.
        """
        ...


def blob_name(digest: Digest) -> str:
    """The path of a blob within an OCI layout."""
    return f"blobs/sha256/{digest.hex}"


class BlobFiles:
    """The part of an ImageSource that reads blobs.

    Args:
        files: where they are.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """See ImageSource."""
        return closing(
            open_verified(self._what(descriptor), descriptor, partial(self._open_at, descriptor), ONCE)
        )

    def open_seekable(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """See ImageSource."""
        stream, size = self._open_file(self._blob_name(descriptor.digest))
        if size != descriptor.size:
            stream.close()
            raise SizeMismatchError(self._what(descriptor), descriptor.size, size)
        return closing(stream)

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """See ImageSource."""
        return self._read(descriptor, MAX_CONFIG_BYTES)

    def _blob_name(self, digest: Digest) -> str:
        """The file of a blob."""
        return blob_name(digest)

    def _read(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        if descriptor.size > limit_bytes:
            raise SizeMismatchError(f"{self._files.where}: {descriptor.digest}", limit_bytes, descriptor.size)
        with self.open_blob(descriptor) as stream:
            return stream.read()

    @contextmanager
    def _open_at(self, descriptor: Descriptor, start: int) -> Iterator[Iterator[bytes]]:
        stream, size = self._open_file(self._blob_name(descriptor.digest))
        with stream:
            if size != descriptor.size:
                raise SizeMismatchError(self._what(descriptor), descriptor.size, size)
            stream.seek(start)
            yield iter(partial(stream.read, _READ_BYTES), b"")

    def _what(self, descriptor: Descriptor) -> str:
        return f"{self._files.where}: blob {descriptor.digest}"

    def _read_small(self, name: str) -> bytes:
        stream, size = self._open_file(name)
        with stream:
            if size > MAX_MANIFEST_BYTES:
                raise InvalidLayoutError(f"{self._files.where}: {name} has {size} bytes, which is too long")
            return stream.read(size)

    def _open_file(self, name: str) -> tuple[BinaryIO, int]:
        try:
            return self._files.open(name)
        except FileNotFoundError as error:
            raise InvalidLayoutError(f"{self._files.where} has no file {name}") from error
