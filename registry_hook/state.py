"""The state directory holds a key, a token and names of repositories: nobody else may enter it.

It and every directory that we make in it have mode 0700 from the start, whichever process makes them first
and whatever its umask is.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

import structlog

from registry_hook.errors import SettingsError

_MODE: Final = 0o700
_LOCK: Final = "serve.lock"
# The kernel kills the children of a service that was killed; one that waits for its disk takes a while to go.
_LEFTOVERS_S: Final = 10.0
_log = structlog.get_logger(__name__)


def make_private(directory: Path) -> None:
    """Makes a directory that only its owner may enter; one that is there is left as it is.

    Missing directories above it are made with the usual rights: they need not be ours alone.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir(mode=_MODE, parents=True, exist_ok=True)


def open_state_directory(directory: Path) -> None:
    """Makes the state directory, or warns of one that others may enter.

    Its rights are not changed: whoever widened them had a reason, or has to learn of it.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        make_private(directory)
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        raise SettingsError(f"state_dir: {error}") from error
    if mode & ~_MODE & 0o777:
        _log.warning(
            "others than its owner may enter the state directory; `chmod 700` it, or see why they need to",
            directory=str(directory),
            mode=f"{mode:04o}",
        )


def claim_state_directory(directory: Path) -> int:
    """Makes this process the only service of a state directory.

    A service that was killed leaves children that hold the lock until the kernel has killed them too; they
    are waited for, so that their ports and jobs are free.

    Returns:
        An open file whose lock is held until it is closed, here and in every child that inherits it.

    Raises:
        SettingsError: another service uses the directory.
    """
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + _LEFTOVERS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            if _is_other_process(owner) or time.monotonic() > deadline_s:
                os.close(descriptor)
                raise SettingsError(
                    f"state_dir: `dragonhook serve` is running with {directory} already (process {owner});"
                    " stop it, or give this one a directory and addresses of its own"
                ) from None
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _is_other_process(owner: str) -> bool:
    # In a container the service is process 1 each time, so this one may have the number of its predecessor.
    return owner.isdigit() and int(owner) != os.getpid() and Path(f"/proc/{owner}").exists()
