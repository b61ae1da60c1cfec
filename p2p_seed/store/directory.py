"""Blobs in a local directory: the default store, and the reader of a registry's `filesystem` storage.

A blob is written to a file of its own (`durable_files`), hashed on the way, fsynced, and linked to its final
name with link(2), which fails if the name exists: that is what makes it put-if-absent, also among processes.
Then every directory from the new file up to the root is fsynced, also when the blob was there already,
because the process that linked it may not have come that far (docs/adr/0030-store-durability.md).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path

from converter.oci import Digest
from p2p_seed.errors import (
    BlobNotFoundError,
    BlobRangeError,
    CorruptBlobError,
    StoreUnavailableError,
)
from p2p_seed.store.durable_files import (
    INCOMING,
    incoming_file,
    remove_leftovers,
    require_root,
    sync,
    sync_up_to,
    translated,
    write_all,
)
from p2p_seed.store.hashing import refuse_other_size, source_size, verified_pieces
from p2p_seed.store.keys import BLOBS, blob_key, parse_blob_key
from p2p_seed.store.protocol import PIECE_BYTES


class DirectoryStore:
    """Blobs below a directory, in Distribution's layout.

    Args:
        root: must exist: an unmounted volume must not look like a store that has lost its blobs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, digest: Digest) -> int | None:
        """See `BlobReader.size`."""
        with translated(f"look for {digest} in {self._root}"):
            try:
                found = os.stat(self._path(digest))
            except FileNotFoundError:
                require_root(self._root)
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
        with translated(f"open {digest} in {self._root}"):
            try:
                # A string: making a path takes longer than opening it.
                return FileIO(f"{self._root}/{blob_key(digest)}")
            except FileNotFoundError as error:
                require_root(self._root)
                raise BlobNotFoundError(f"{digest} is not stored in {self._root}") from error

    def read(self, digest: Digest, start: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """See `BlobReader.read`."""
        with translated(f"read {digest} from {self._root}"), self.open_file(digest) as file:
            position, end = _range(digest, start, length, os.fstat(file.fileno()).st_size)
            while position < end:
                piece = os.pread(file.fileno(), min(PIECE_BYTES, end - position), position)
                if not piece:
                    raise StoreUnavailableError(f"{self._path(digest)} was cut short while it was read")
                yield piece
                position += len(piece)

    def digests(self) -> Iterator[Digest]:
        """See `BlobReader.digests`."""
        with translated(f"list {self._root}"):
            require_root(self._root)
            for path in (self._root / BLOBS).glob("??/*/data"):
                if (digest := parse_blob_key(path.relative_to(self._root).as_posix())) is not None:
                    yield digest

    def put(self, digest: Digest, source: Path) -> bool:
        """See `BlobStore.put`."""
        size_bytes = source_size(source, digest)
        stored_bytes = self.size(digest)
        if stored_bytes is not None and stored_bytes != size_bytes:
            refuse_other_size(digest, source, stored_bytes, PIECE_BYTES)
        with translated(f"store {digest} in {self._root}"):
            require_root(self._root)
            stored_now = stored_bytes is None and self._write(digest, source)
            sync_up_to(self._root, self._path(digest).parent)
        return stored_now

    def delete(self, digest: Digest) -> None:
        """See `BlobStore.delete`."""
        with translated(f"delete {digest} from {self._root}"):
            require_root(self._root)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(digest))
                # The emptied directory stays: removing it would race with a put of the same blob.
                sync(self._path(digest).parent)

    def remove_leftovers(self, before: datetime) -> int:  # noqa: ARG002  locks tell more than times
        """See `BlobStore.remove_leftovers`; every put does this too."""
        with translated(f"clean {self._root / INCOMING}"):
            require_root(self._root)
            return remove_leftovers(self._root / INCOMING)

    def _path(self, digest: Digest) -> Path:
        return self._root / blob_key(digest)

    def _write(self, digest: Digest, source: Path) -> bool:
        target = self._path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        with incoming_file(self._root / INCOMING, digest) as (descriptor, name):
            for piece in verified_pieces(source, digest, PIECE_BYTES):
                write_all(descriptor, piece)
            os.fsync(descriptor)
            try:
                os.link(name, target)
            except FileExistsError:
                return False
            return True


def _range(digest: Digest, start: int, length: int | None, size_bytes: int) -> tuple[int, int]:
    end = size_bytes if length is None else start + length
    if not 0 <= start <= end <= size_bytes:
        raise BlobRangeError(f"[{start}, {end}) is not inside {digest}, which has {size_bytes} bytes")
    return start, end
