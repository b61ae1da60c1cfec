"""Writes OCI layouts packed in a tar file: `oci-archive:FILE[:NAME]`.

`TarMembers` reads them. A new archive replaces an old one, as with skopeo; adding to one would mean to copy
it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converter.oci import Descriptor, Digest
from registry_hook.registry.verified import open_verified_local
from registry_hook.transports.blob_files import blob_name
from registry_hook.transports.errors import InvalidLayoutError, UnwritableError
from registry_hook.transports.files import atomic_file, writing
from registry_hook.transports.layout import (
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    add_image,
)


class ArchiveSink:
    """Writes a new archive; implements ImageSink. `open_archive_sink` makes one.

    Members have no times, owners or order of their own, so equal images give equal archives.
    """

    def __init__(self, archive: tarfile.TarFile, name: str | None, path: Path) -> None:
        self._archive = archive
        self._name = name
        self._path = path
        self._blobs: set[Digest] = set()
        self._index: bytes | None = None

    def has_blob(self, descriptor: Descriptor) -> bool:
        """See ImageSink."""
        return descriptor.digest in self._blobs

    def put_blob(self, descriptor: Descriptor, source: Path | bytes) -> None:
        """See ImageSink."""
        if self.has_blob(descriptor):
            return
        with writing(self._path), open_verified_local(descriptor, source) as stream:
            self._archive.addfile(_member(blob_name(descriptor.digest), descriptor.size), stream)
            stream.read()  # An empty blob is checked here: nothing of it was read yet.
        self._blobs.add(descriptor.digest)

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
        self._index = add_image(self._index, descriptor, self._name, str(self._path))
        return descriptor

    def finish(self) -> None:
        """Writes what makes the archive a layout, and ends it.

        Raises:
            InvalidLayoutError: no image was published.
        """
        if self._index is None:
            raise InvalidLayoutError(f"{self._path}: no image was written to this archive")
        with writing(self._path):
            for name, content in ((LAYOUT_FILE, LAYOUT_BYTES), (INDEX_FILE, self._index)):
                self._archive.addfile(_member(name, len(content)), io.BytesIO(content))
            self._archive.close()  # which writes the end


@contextmanager
def open_archive_sink(path: Path, name: str | None) -> Iterator[ArchiveSink]:
    """Opens an archive for writing; it gets its name, whole, when the context ends without an error.

    Raises:
        UnwritableError: the file cannot be made, or not be written to its end.
    """
    if path.is_dir():
        raise UnwritableError(f"{path} is a directory; the archive needs a file's name")
    if not path.parent.is_dir():
        raise UnwritableError(f"{path} cannot be written: there is no directory {path.parent}")
    with (
        atomic_file(path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        sink = ArchiveSink(archive, name, path)
        yield sink
        sink.finish()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member
