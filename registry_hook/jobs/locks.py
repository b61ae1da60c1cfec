"""Implements `Locks`: shared by all workers of a job database, gone with the process that holds them.

Two things need one: moving a tag, and rewriting a fallback referrers index. Neither has a precondition that
Distribution would check (it has no If-Match on manifests). With SQLite all workers are threads of one
machine, so a file lock does; with Postgres a session advisory lock does. Both are freed by the operating
system or the server when their holder is killed, so there is no lease to expire.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from registry_hook.errors import RetryLater
from registry_hook.state import make_private

# Lock files, shared by hash. Two names that meet in one file only wait for each other without need.
_STRIPES: Final = 256


class FileLocks:
    """Locks for one machine: `flock` on files of a local directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        make_private(directory)

    @contextmanager
    def hold(self, repository: str, tag: str) -> Iterator[None]:
        """Waits for the lock of a tag and holds it."""
        path = self._directory / f"{_number(repository, tag) % _STRIPES:03d}"
        # A new open file each time: flock belongs to the open file, so threads exclude each other too.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class PostgresLocks:
    """Locks for many machines: session advisory locks, each on a connection of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, repository: str, tag: str) -> Iterator[None]:
        """Waits for the lock of a tag and holds it.

        Raises:
            RetryLater: the database is unavailable, or the lock was lost while it was held.
        """
        number = {"n": _number(repository, tag)}
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("SELECT pg_advisory_lock(:n)"), number)
                try:
                    yield
                finally:
                    # The connection goes back to the pool, and would take the lock with it.
                    connection.execute(sa.text("SELECT pg_advisory_unlock(:n)"), number)
        except sa.exc.SQLAlchemyError as error:
            raise RetryLater(f"the lock of {repository}:{tag} was not had all the time: {error}") from error


def _number(repository: str, tag: str) -> int:
    """A signed 64-bit number for a name, as advisory locks want it."""
    digest = hashlib.sha256(f"tag\0{repository}\0{tag}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
