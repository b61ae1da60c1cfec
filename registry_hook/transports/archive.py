"""OCI layouts packed in a tar file: `oci-archive:FILE[:NAME]`.

Nothing is ever unpacked: the files of the layout are read where they lie in the tar, so no name in it can
reach a path outside. A new archive replaces an old one, as with skopeo; adding to one would mean to copy it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from converter.oci import Descriptor, Digest
from registry_hook.registry.verified import open_verified_local
from registry_hook.transports.errors import InvalidLayoutError, UnwritableError
from registry_hook.transports.files import atomic_file, writing
from registry_hook.transports.layout import (
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    add_image,
    blob_name,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAX_MEMBERS: Final = 20_000  # tarfile keeps about 1 KiB of each in memory
_MAX_HEADER_BYTES: Final = 1024 * 1024


class ArchiveFiles:
    """The files of a layout in a tar file; implements LayoutFiles. May be used by many threads.

    Args:
        path: an uncompressed tar file.

    Raises:
        InvalidLayoutError: it is not one, holds more than 20,000 members, or a file of the layout twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.where = str(path)
        try:
            with (
                _Headers(path.open("rb", buffering=0)) as file,
                tarfile.open(fileobj=file, mode="r:") as archive,
            ):
                self._places = _places(archive, self.where)
        except FileNotFoundError as error:
            raise InvalidLayoutError(f"{path} does not exist") from error
        except IsADirectoryError as error:
            raise InvalidLayoutError(f"{path} is a directory, not a tar file; name it oci:{path}") from error
        except OSError as error:
            raise InvalidLayoutError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, tarfile.TarError) as error:
            raise InvalidLayoutError(f"{path} is not an uncompressed tar file: {error}") from error

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """See LayoutFiles."""
        if name not in self._places:
            raise FileNotFoundError(f"{self.where} has no member {name}")
        offset, size = self._places[name]
        return io.BufferedReader(_Slice(self._path, offset, size)), size


def _places(archive: tarfile.TarFile, where: str) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each regular file, by its normal name."""
    places: dict[str, tuple[int, int]] = {}
    count = 0
    while (member := archive.next()) is not None:
        count += 1
        if count > _MAX_MEMBERS:
            raise InvalidLayoutError(f"{where} has more than {_MAX_MEMBERS} members")
        if not member.isreg() or member.issparse():
            continue
        name = str(PurePosixPath(member.name))
        if name in places:
            raise InvalidLayoutError(f"{where} has {name!r:.200} twice")
        places[name] = (member.offset_data, member.size)
    return places


class _Headers(io.BufferedReader):
    """A tar file whose headers are read; refuses extended headers that would fill the memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads `size` bytes.

        Raises:
            InvalidLayoutError: they are too many for a header.
        """
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise InvalidLayoutError(f"the archive has a header of {size} bytes, which is too long")
        return super().read(size)


class _Slice(io.RawIOBase):
    """The bytes [offset, offset + size) of a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Reads up to the end of the slice."""
        with memoryview(buffer).cast("B") as view:
            self._file.seek(self._offset + self._position)
            count = self._file.readinto(view[: max(0, self._size - self._position)]) or 0
        self._position += count
        return count

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


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
