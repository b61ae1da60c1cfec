"""OCI layouts in a directory: `oci:DIR[:NAME]`."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO, Final

from converter.oci import Descriptor, Digest
from registry_hook.registry.verified import open_verified_local
from registry_hook.transports.errors import InvalidLayoutError
from registry_hook.transports.files import atomic_file, locked_directory, sync_directory
from registry_hook.transports.layout import (
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    add_image,
    blob_name,
)

_COPY_BYTES: Final = 1024 * 1024


class DirectoryFiles:
    """The files of a layout in a directory; implements LayoutFiles."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.where = str(path)

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """See LayoutFiles."""
        # Without O_NONBLOCK, a named pipe would block us before we can see that it is none of our business.
        descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{self._path / name} is not a regular file")
        return os.fdopen(descriptor, "rb"), status.st_size


class DirectorySink:
    """Adds an image to a layout in a directory, which is created if missing; implements ImageSink.

    Several processes may write to one directory: blobs are put in place whole, and the index is changed under
    a lock. Images of other names stay.

    Args:
        path: the directory.
        name: the image's name; None for an image without a name.

    Raises:
        InvalidLayoutError: the directory holds something else.
    """

    def __init__(self, path: Path, name: str | None) -> None:
        self._path = path
        self._name = name
        try:
            self._prepare()
        except OSError as error:
            raise InvalidLayoutError(f"{path} cannot be made an OCI layout: {error}") from error

    def _prepare(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        if not (self._path / LAYOUT_FILE).exists():
            if any(self._path.iterdir()):
                raise InvalidLayoutError(
                    f"{self._path} is not empty and not an OCI layout: name another place"
                )
            with atomic_file(self._path / LAYOUT_FILE) as file:
                file.write(LAYOUT_BYTES)
        (self._path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        sync_directory(self._path / "blobs")
        sync_directory(self._path)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """See ImageSink."""
        try:
            return self._blob_path(descriptor).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def put_blob(self, descriptor: Descriptor, source: Path | bytes) -> None:
        """See ImageSink."""
        if self.has_blob(descriptor):
            return
        with (
            atomic_file(self._blob_path(descriptor)) as file,
            open_verified_local(descriptor, source) as stream,
        ):
            shutil.copyfileobj(stream, file, _COPY_BYTES)

    def put_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        descriptor = Descriptor(media_type, Digest.of(raw), len(raw))
        self.put_blob(descriptor, raw)
        return descriptor

    def publish(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        descriptor = self.put_manifest(raw, media_type)
        index = self._path / INDEX_FILE
        with locked_directory(self._path):
            existing = index.read_bytes() if index.exists() else None
            merged = add_image(existing, descriptor, self._name, str(self._path))
            with atomic_file(index) as file:
                file.write(merged)
        return descriptor

    def _blob_path(self, descriptor: Descriptor) -> Path:
        return self._path / blob_name(descriptor.digest)
