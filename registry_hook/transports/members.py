"""The files in an uncompressed tar, read where they lie.

Nothing is ever unpacked, so no name in the tar can reach a path outside.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from registry_hook.seekable import SeekableFile
from registry_hook.transports.errors import InvalidLayoutError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAX_MEMBERS: Final = 20_000  # tarfile keeps about 1 KiB of each in memory
_MAX_HEADER_BYTES: Final = 1024 * 1024


class TarMembers:
    """The regular files of a tar; implements Files. May be used by many threads.

    Args:
        path: an uncompressed tar file.
        follow_links: whether the name of a link within the tar means the file that it leads to.

    Raises:
        InvalidLayoutError: it is not one, holds more than 20,000 members, or a file twice.
    """

    def __init__(self, path: Path, *, follow_links: bool = False) -> None:
        self._path = path
        self.where = str(path)
        try:
            with (
                _Headers(path.open("rb", buffering=0)) as file,
                tarfile.open(fileobj=file, mode="r:") as archive,
            ):
                self._places = _places(archive, self.where, follow_links=follow_links)
        except FileNotFoundError as error:
            raise InvalidLayoutError(f"{path} does not exist") from error
        except IsADirectoryError as error:
            raise InvalidLayoutError(f"{path} is a directory, not a tar file; name it oci:{path}") from error
        except OSError as error:
            raise InvalidLayoutError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, tarfile.TarError) as error:
            raise InvalidLayoutError(f"{path} is not an uncompressed tar file: {error}") from error

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """See Files."""
        if name not in self._places:
            raise FileNotFoundError(f"{self.where} has no member {name}")
        offset, size = self._places[name]
        return io.BufferedReader(_Slice(self._path, offset, size)), size

    def __contains__(self, name: str) -> bool:
        """Whether there is a regular file of that name."""
        return name in self._places


def _places(archive: tarfile.TarFile, where: str, *, follow_links: bool) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each regular file, by its normal name."""
    places: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    count = 0
    while (member := archive.next()) is not None:
        count += 1
        if count > _MAX_MEMBERS:
            raise InvalidLayoutError(f"{where} has more than {_MAX_MEMBERS} members")
        name = str(PurePosixPath(member.name))
        if follow_links and member.issym():
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if not member.isreg() or member.issparse():
            continue
        if name in places:
            raise InvalidLayoutError(f"{where} has {name!r:.200} twice")
        places[name] = (member.offset_data, member.size)
    return {name: places[target] for name, target in links.items() if target in places} | places


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


class _Slice(SeekableFile):
    """The bytes [offset, offset + size) of a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__(size)
        self._file = path.open("rb", buffering=0)
        self._offset = offset

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
