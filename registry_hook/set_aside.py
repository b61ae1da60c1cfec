"""Keeps notifications that are not understood, for a person to look at."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from registry_hook.errors import NotStoredError
from registry_hook.state import make_private

# A sender that talks nonsense must not fill the disk: the oldest files go.
MAX_FILES: Final = 1000
MAX_BYTES: Final = 256 * 1024 * 1024


class SetAsideBodies:
    """A directory of bodies, each stored once under its own hash.

    Args:
        directory: made when it is needed.
        max_files: how many bodies to keep.
        max_bytes: how long all of them may be together; the newest is kept in any case.
    """

    def __init__(self, directory: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_files = max_files
        self._max_bytes = max_bytes

    def keep(self, body: bytes) -> Path:
        """Stores a body durably.

        Returns:
            The file. The registry repeats what it was not thanked for, so equal bodies share one.

        Raises:
            NotStoredError: the disk did not take it.
        """
        path = self._directory / f"{hashlib.sha256(body).hexdigest()}.body"
        try:
            make_private(self._directory)
            if not path.exists():
                self._write(path, body)
                self._drop_oldest()
        except OSError as error:
            raise NotStoredError(f"cannot set a notification aside in {self._directory}: {error}") from error
        return path

    def _write(self, path: Path, body: bytes) -> None:
        partial = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
        try:
            with partial.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _drop_oldest(self) -> None:
        # All names, so that what a killed process wrote only in part goes too.
        found = [(path.stat(), path) for path in self._directory.iterdir()]
        total = 0
        newest_first = sorted(found, key=lambda item: item[0].st_mtime_ns, reverse=True)
        for number, (status, path) in enumerate(newest_first):
            total += status.st_size
            if number and (number >= self._max_files or total > self._max_bytes):
                path.unlink(missing_ok=True)
