"""OCI layouts in a directory: `oci:DIR[:NAME]`."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO, Final

from converter.oci import Descriptor, Digest
from registry_hook.registry.verified import open_verified_local
from registry_hook.transports.blob_files import blob_name
from registry_hook.transports.errors import InvalidLayoutError
from registry_hook.transports.files import atomic_file, locked_directory, sync_directory, writing
from registry_hook.transports.layout import (
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    add_image,
)

_COPY_BYTES: Final = 1024 * 1024


class DirectoryFiles:
    """The files of a layout in a directory; implements Files.

    Args:
        path: the directory.

    Raises:
        InvalidLayoutError: there is none.
    """

    def __init__(self, path: Path) -> None:
        if path.is_file():
            raise InvalidLayoutError(f"{path} is a file, not a directory; an archive is oci-archive:{path}")
        if not path.exists():
            raise InvalidLayoutError(f"{path} does not exist")
        self._path = path
        self.where = str(path)

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """See Files."""
        # Without O_NONBLOCK, a named pipe would block us before we can see that it is none of our business.
        descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{self._path / name} is not a regular file")
        return os.fdopen(descriptor, "rb"), status.st_size


class DirectorySink:
    """Adds an image to a layout in a directory, which is created if missing; implements ImageSink.

    Nothing is created before there is something to store, so that an image that is refused leaves nothing.
    Several processes may write to one directory: blobs are put in place whole, and the index is changed under
    a lock. Images of other names stay.

    Args:
        path: the directory.
        name: the image's name; None for an image without a name.

    Raises:
        InvalidLayoutError: the directory holds something else.
        UnwritableError: it cannot be written, or cannot be made.
    """

    def __init__(self, path: Path, name: str | None) -> None:
        self._path = path
        self._name = name
        self._prepared = False
        with writing(path):
            _check_place(path)

    def _prepare(self) -> None:
        if self._prepared:
            return
        with writing(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
            # Again, since a conversion lies in between.
            if not _check_place(self._path):
                with atomic_file(self._path / LAYOUT_FILE) as file:
                    file.write(LAYOUT_BYTES)
            (self._path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            sync_directory(self._path / "blobs")
            sync_directory(self._path)
        self._prepared = True

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
        self._prepare()
        with (
            writing(self._path),
            atomic_file(self._blob_path(descriptor)) as file,
            open_verified_local(descriptor, source) as stream,
        ):
            shutil.copyfileobj(stream, file, _COPY_BYTES)

    def put_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        descriptor = Descriptor(media_type, Digest.of(raw), len(raw))
        self.put_blob(descriptor, raw)
        return descriptor

    def keep_manifest(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        return self.put_manifest(raw, media_type)

    def publish(self, raw: bytes, media_type: str) -> Descriptor:
        """See ImageSink."""
        descriptor = self.put_manifest(raw, media_type)
        index = self._path / INDEX_FILE
        with writing(self._path), locked_directory(self._path):
            existing = index.read_bytes() if index.exists() else None
            merged = add_image(existing, descriptor, self._name, str(self._path))
            with atomic_file(index) as file:
                file.write(merged)
        return descriptor

    def _blob_path(self, descriptor: Descriptor) -> Path:
        return self._path / blob_name(descriptor.digest)


def _check_place(path: Path) -> bool:
    """Checks that a directory is a layout that can be added to, or can become one, and changes nothing.

    Returns:
        Whether it is a layout already.

    Raises:
        InvalidLayoutError: it holds something else.
        OSError: it cannot be written, or cannot be made.
    """
    try:
        content = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        place = path.absolute()
        _check_writable(next(parent for parent in (place, *place.parents) if parent.exists()))
        return False
    if content and LAYOUT_FILE not in content:
        raise InvalidLayoutError(f"{path} is not empty and not an OCI layout: name another place")
    _check_writable(path)
    return bool(content)


def _check_writable(directory: Path) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{directory} is not a directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no permission to write in {directory}")
