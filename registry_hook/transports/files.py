"""Files that are either whole and durable, or not there."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from registry_hook.transports.errors import UnwritableError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the destination where the system refuses to write; its errors name temporary files, or nothing.

    Raises:
        UnwritableError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UnwritableError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the name `path` when the context ends without an error.

    By then its bytes and its name are on the disk; a file of that name is replaced.

    Raises:
        UnwritableError: the file cannot be made or finished. Errors of the context's body pass unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with writing(path):
        file = temporary.open("xb")
    try:
        with file:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
        with writing(path):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with writing(path):
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Brings the names in a directory onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Keeps out all other processes and threads that lock the same directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which also gives up the lock
