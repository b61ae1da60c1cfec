"""The state directory holds a key, a token and names of repositories: nobody else may enter it.

It and every directory that we make in it have mode 0700 from the start, whichever process makes them first
and whatever its umask is.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

import structlog

from registry_hook.errors import SettingsError

_MODE: Final = 0o700
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
