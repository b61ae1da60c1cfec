"""Files that appear whole or not at all, and stay: what the directory forms of this package are made of.

What is to appear is written to a file of its own under `.incoming/`, fsynced, and then given its name; then
every directory from the new file up to the root is fsynced (docs/adr/0030-store-durability.md).

A process killed while writing leaves its file under `.incoming/`. Each writer holds a lock (flock) on its
file, so the next writer can tell which ones have lost theirs, and removes those.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from converter.oci import Digest
from p2p_seed.errors import StoreConfigurationError, StoreError, StoreUnavailableError

INCOMING: Final = ".incoming"
_REFUSALS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def incoming_file(directory: Path, digest: Digest) -> Iterator[tuple[int, Path]]:
    """A new, locked file that is gone at the end unless it was renamed, whatever was linked to it meanwhile.

    Args:
        directory: made if it is missing.
        digest: of the blob that the file belongs to, for its name.

    Yields:
        The file, open for writing, and its name.
    """
    directory.mkdir(exist_ok=True)
    remove_leftovers(directory)
    while True:
        name = directory / f"{digest.hex}.{secrets.token_hex(8)}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Between open and flock another writer may have taken the file for a leftover and removed it.
            if os.fstat(descriptor).st_nlink == 0:
                continue
            try:
                yield descriptor, name
            finally:
                name.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def remove_leftovers(directory: Path) -> int:
    """Removes the files below `directory` whose writers are gone.

    Returns:
        How many there were.
    """
    removed = 0
    for name in directory.iterdir() if directory.is_dir() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), name.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name.unlink()
            removed += 1
    return removed


def write_all(descriptor: int, piece: bytes) -> None:
    """Writes the whole of `piece`, as often as it takes."""
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(directory: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_up_to(root: Path, directory: Path) -> None:
    """Makes a directory durable, and all above it up to and with `root`."""
    while directory != root:
        sync(directory)
        directory = directory.parent
    sync(root)


def require_root(root: Path) -> None:
    """Refuses to take an unmounted volume for a store that has lost its content.

    Raises:
        StoreUnavailableError: the directory is missing.
    """
    if not root.is_dir():
        raise StoreUnavailableError(f"{root} is not there: mount or create it")


@contextlib.contextmanager
def translated(action: str) -> Iterator[None]:
    """Turns errors of the operating system into errors of ours.

    Args:
        action: what was tried, to complete "cannot …".
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        message = f"cannot {action}: {error}"
        if error.errno in _REFUSALS:
            raise StoreConfigurationError(
                f"{message}; check owner, mode and mount of the directory"
            ) from error
        raise StoreUnavailableError(message) from error
