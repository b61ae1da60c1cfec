"""Blobs in a local directory: the default store, and the reader of a registry's `filesystem` storage.

A blob is written to a file of its own under `.incoming/`, hashed on the way, fsynced, and linked to its
final name with link(2), which fails if the name exists: that is what makes it put-if-absent, also among
processes. Then every directory from the new file up to the root is fsynced, also when the blob was there
already, because the process that linked it may not have come that far (docs/adr/0030-store-durability.md).

A process killed while putting leaves its file under `.incoming/`. Each writer holds a lock (flock) on its
file, so the next put can tell which ones have lost their writer, and removes those.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Generator, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Final

from converter.oci import Digest
from p2p_seed.errors import (
    BlobNotFoundError,
    BlobRangeError,
    CorruptBlobError,
    StoreConfigurationError,
    StoreError,
    StoreUnavailableError,
)
from p2p_seed.store.hashing import refuse_other_size, source_size, verified_pieces
from p2p_seed.store.keys import BLOBS, blob_key, parse_blob_key
from p2p_seed.store.protocol import PIECE_BYTES

_INCOMING: Final = ".incoming"
_REFUSALS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class DirectoryStore:
    """Blobs below a directory, in Distribution's layout.

    Args:
        root: must exist: an unmounted volume must not look like a store that has lost its blobs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, digest: Digest) -> int | None:
        """See `BlobReader.size`."""
        with _translated(f"look for {digest} in {self._root}"):
            try:
                found = os.stat(self._path(digest))
            except FileNotFoundError:
                self._require_root()
                return None
        if not stat.S_ISREG(found.st_mode):
            raise CorruptBlobError(f"{self._path(digest)} is not an ordinary file: remove it")
        return found.st_size

    def open_file(self, digest: Digest) -> FileIO:
        """The blob as an open file that the caller closes, for sendfile; it cannot vanish any more.

        Raises:
            BlobNotFoundError: not stored.
            StoreUnavailableError: the directory failed.
            StoreConfigurationError: the directory refuses to be read.
        """
        with _translated(f"open {digest} in {self._root}"):
            try:
                return FileIO(self._path(digest))
            except FileNotFoundError as error:
                self._require_root()
                raise BlobNotFoundError(f"{digest} is not stored in {self._root}") from error

    def read(self, digest: Digest, start: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """See `BlobReader.read`."""
        with _translated(f"read {digest} from {self._root}"), self.open_file(digest) as file:
            position, end = _range(digest, start, length, os.fstat(file.fileno()).st_size)
            while position < end:
                piece = os.pread(file.fileno(), min(PIECE_BYTES, end - position), position)
                if not piece:
                    raise StoreUnavailableError(f"{self._path(digest)} was cut short while it was read")
                yield piece
                position += len(piece)

    def digests(self) -> Iterator[Digest]:
        """See `BlobReader.digests`."""
        with _translated(f"list {self._root}"):
            self._require_root()
            for path in (self._root / BLOBS).glob("??/*/data"):
                if (digest := parse_blob_key(path.relative_to(self._root).as_posix())) is not None:
                    yield digest

    def put(self, digest: Digest, source: Path) -> bool:
        """See `BlobStore.put`."""
        size_bytes = source_size(source, digest)
        stored_bytes = self.size(digest)
        if stored_bytes is not None and stored_bytes != size_bytes:
            refuse_other_size(digest, source, stored_bytes, PIECE_BYTES)
        with _translated(f"store {digest} in {self._root}"):
            self._require_root()
            stored_now = stored_bytes is None and self._write(digest, source)
            self._sync_directories(digest)
        return stored_now

    def delete(self, digest: Digest) -> None:
        """See `BlobStore.delete`."""
        with _translated(f"delete {digest} from {self._root}"):
            self._require_root()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(digest))
                # The emptied directory stays: removing it would race with a put of the same blob.
                _sync(self._path(digest).parent)

    def remove_leftovers(self, before: datetime) -> int:  # noqa: ARG002  locks tell more than times
        """See `BlobStore.remove_leftovers`; every put does this too."""
        with _translated(f"clean {self._root / _INCOMING}"):
            self._require_root()
            return _remove_leftovers(self._root / _INCOMING)

    def _path(self, digest: Digest) -> Path:
        return self._root / blob_key(digest)

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise StoreUnavailableError(f"{self._root} is not there: mount or create it")

    def _write(self, digest: Digest, source: Path) -> bool:
        target = self._path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _incoming_file(self._root / _INCOMING, digest) as (descriptor, name):
            for piece in verified_pieces(source, digest, PIECE_BYTES):
                _write_all(descriptor, piece)
            os.fsync(descriptor)
            try:
                os.link(name, target)
            except FileExistsError:
                return False
            return True

    def _sync_directories(self, digest: Digest) -> None:
        directory = self._path(digest).parent
        while directory != self._root:
            _sync(directory)
            directory = directory.parent
        _sync(self._root)


def _range(digest: Digest, start: int, length: int | None, size_bytes: int) -> tuple[int, int]:
    end = size_bytes if length is None else start + length
    if not 0 <= start <= end <= size_bytes:
        raise BlobRangeError(f"[{start}, {end}) is not inside {digest}, which has {size_bytes} bytes")
    return start, end


@contextlib.contextmanager
def _incoming_file(directory: Path, digest: Digest) -> Iterator[tuple[int, Path]]:
    """A new, locked file that disappears again at the end, whatever was linked to it meanwhile."""
    directory.mkdir(exist_ok=True)
    _remove_leftovers(directory)
    while True:
        name = directory / f"{digest.hex}.{secrets.token_hex(8)}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Between open and flock another put may have taken the file for a leftover and removed it.
            if os.fstat(descriptor).st_nlink == 0:
                continue
            try:
                yield descriptor, name
            finally:
                name.unlink()
            return
        finally:
            os.close(descriptor)


def _remove_leftovers(directory: Path) -> int:
    removed = 0
    for name in directory.iterdir() if directory.is_dir() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), name.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name.unlink()
            removed += 1
    return removed


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(action: str) -> Iterator[None]:
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
