"""The identity of a worker: unique among live processes, and the same after a restart.

DBOS continues a dead worker's jobs when a worker of the same executor id starts. Two live workers with one id
start steps twice (4 of 24 measured), and an id that changes leaves jobs behind. So an id is a slot of this
machine: a file that holds the id and is locked for as long as its worker lives.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from registry_hook.errors import SettingsError
from registry_hook.state import make_private

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_SLOTS: Final = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A claimed identity, kept until the process ends and closes the file.

    Args:
        executor_id: the identity.
        descriptor: the open and locked file.
    """

    executor_id: str
    descriptor: int


def claim_slot(directory: Path, *, only_one: bool, executor_id: str | None = None) -> Slot:
    """Claims an identity of this machine that no live worker has.

    Args:
        directory: where the identities of this machine are kept.
        only_one: whether this machine may have one worker only, as with SQLite: it reads outside of
            transactions there, so two workers exceed the concurrency of a queue.
        executor_id: an id from the settings, instead of a generated one.

    Raises:
        SettingsError: all identities that may be used are taken.
    """
    make_private(directory)
    names = [executor_id] if executor_id else [f"worker-{n}" for n in range(1 if only_one else _MAX_SLOTS)]
    for name in names:
        descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return Slot(executor_id or _kept_id(descriptor), descriptor)
    if only_one:
        raise SettingsError(
            f"another worker of {directory.parent} is running; with SQLite there can be only one "
            "(set jobs.database to a postgresql:// URL for more)"
        )
    raise SettingsError(f"all worker identities in {directory} are taken")


def _kept_id(descriptor: int) -> str:
    """The id in a locked slot file, after writing one if there is none (or half of one)."""
    kept = os.pread(descriptor, 65, 0).decode("ascii", "replace")
    if _ID.fullmatch(kept):
        return kept
    fresh = f"worker-{secrets.token_hex(8)}"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, fresh.encode(), 0)
    os.fsync(descriptor)
    return fresh
