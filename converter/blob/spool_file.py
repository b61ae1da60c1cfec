"""A file of the spool directory that is named after its own digest once it is complete."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from converter.oci import Digest

_BUFFER_SIZE: Final = 1 << 20


class SpoolFile:
    """Writes a file from beginning to end. Left without `commit`, it is removed.

    Args:
        directory: where the file will be.

    Raises:
        OSError: here and from all methods: the directory cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=directory)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_SIZE)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()

    def write(self, data: bytes | memoryview) -> None:
        """Appends."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def sha256(self) -> bytes:
        """SHA-256 of what is written so far."""
        return self._hash.digest()

    def open(self) -> BinaryIO:
        """The file so far, for reading."""
        self._file.flush()
        return self._path.open("rb")

    def commit(self) -> tuple[Path, Digest]:
        """Gives the file its name, the hexadecimal digits of its digest."""
        self._file.close()
        digest = Digest(self._hash.hexdigest())
        path = self._path.with_name(digest.hex)
        os.replace(self._path, path)
        return path, digest
