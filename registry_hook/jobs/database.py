"""The job database: one SQLite file by default, Postgres when several machines share the jobs.

SQLite's defaults as DBOS ships them (a rollback journal, a pool of 20) gave enqueues a 99th percentile of 338
ms; a write-ahead log with `synchronous=FULL` and one connection gave 24 ms with the same durability, one
fsync a commit. The file must lie on a local disk: SQLite's locks do not hold on NFS.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from registry_hook.errors import UnavailableError
from registry_hook.state import make_private

SCHEMA: Final = "dbos"
_BUSY_TIMEOUT_MS: Final = 30_000
# The server notices a vanished machine after 5 + 3 * 5 s and frees its locks; the default is two hours.
_KEEPALIVE: Final = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite file."""
    return url.startswith("sqlite:")


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL."""
    return Path(sa.make_url(url).database or "")


def open_engine(url: str, *, pool_size: int = 5) -> sa.Engine:
    """Opens the database as the jobs need it.

    Args:
        url: `sqlite:///FILE` or `postgresql://…`.
        pool_size: connections to Postgres; SQLite always gets one, so that threads queue in this process
            instead of waiting for the file's lock.
    """
    if is_sqlite(url):
        make_private(sqlite_path(url).parent)
        _make_private_file(sqlite_path(url))
        engine = sa.create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=60)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=60,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "options": _KEEPALIVE, "application_name": "dragonhook"},
    )


def prepare(url: str) -> None:
    """Creates or upgrades the tables; cheap when there is nothing to do, and safe to run in parallel.

    Raises:
        UnavailableError: the database cannot be reached, or its file cannot be written.
    """
    try:
        if is_sqlite(url):
            engine = open_engine(url)
            engine.connect().close()
            engine.dispose()
        DBOS.migrate(url)
    except (OSError, sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"the job database cannot be used: {reason}") from error


def _make_private_file(path: Path) -> None:
    """Makes an empty database that only its owner may read, if there is none.

    SQLite would make one with the rights of the umask; the files beside it get those of the database. One
    that is there is not even opened: closing it would free the locks that SQLite has on it in this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # IMMEDIATE makes writers queue at BEGIN instead of failing at the first write; the driver emits it,
    # because an engine that emits its own BEGIN breaks the migrations of DBOS.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
