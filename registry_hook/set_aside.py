"""Keeps notifications that are not understood, for a person to look at."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from registry_hook.errors import NotStoredError

# A sender that talks nonsense must not fill the disk: the oldest files go.
MAX_FILES: Final = 1000


class SetAsideBodies:
    """A directory of bodies, each stored once under its own hash."""

    def __init__(self, directory: Path, max_files: int = MAX_FILES) -> None:
        self._directory = directory
        self._max_files = max_files

    def keep(self, body: bytes) -> Path:
        """Stores a body durably.

        Returns:
            The file. The registry repeats what it was not thanked for, so equal bodies share one.

        Raises:
            NotStoredError: the disk did not take it.
        """
        path = self._directory / f"{hashlib.sha256(body).hexdigest()}.body"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
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
        files = list(self._directory.glob("*.body"))
        if len(files) <= self._max_files:
            return
        for path in sorted(files, key=lambda file: file.stat().st_mtime)[: len(files) - self._max_files]:
            path.unlink(missing_ok=True)
