"""What every blob store offers: content-addressed bytes, written once.

Rules that hold for all of them, and that `tests/p2p_seed/store/` checks for each:

- A blob is visible whole and with the right bytes, or not at all.
- Whoever puts a blob that is there already changes nothing.
- Every method may be called from many threads and many processes at once.
- Errors are those of `p2p_seed.errors`, never those of a library or of the operating system.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from converter.oci import Digest

PIECE_BYTES: Final = 1024 * 1024


class BlobReader(Protocol):
    """The reading half of a store: all that a registry's own storage is used for."""

    def size(self, digest: Digest) -> int | None:
        """The blob's length in bytes, or None if it is not stored.

        Raises:
            CorruptBlobError: what is stored in its place cannot be a blob.
            StoreUnavailableError: it cannot be told now.
            StoreConfigurationError: the store refuses to tell.
        """
        ...

    def read(self, digest: Digest, start: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """Reads the half-open range [start, start + length).

        Nothing is opened before the first `next()`, and `close()` (or exhausting the generator) releases what
        was opened, so an abandoned read belongs into `contextlib.closing`.

        Args:
            digest: names the blob.
            start: first byte, from 0 to the blob's size.
            length: number of bytes; None reads to the end.

        Yields:
            Pieces of at most `PIECE_BYTES`, none of them empty, together exactly the range.

        Raises:
            BlobNotFoundError: not stored.
            BlobRangeError: the range is not inside the blob.
            StoreUnavailableError: the store failed, possibly after some pieces.
            StoreConfigurationError: the store refuses to be read.
        """
        ...

    def digests(self) -> Iterator[Digest]:
        """All blobs stored, in no particular order; what changes meanwhile may or may not be seen.

        Raises:
            StoreUnavailableError: the listing failed, possibly after some digests.
            StoreConfigurationError: the store refuses to be listed.
        """
        ...


class BlobStore(BlobReader, Protocol):
    """A store that is ours to write."""

    def put(self, digest: Digest, source: Path) -> bool:
        """Stores the content of `source`, unless the blob is there already.

        The content is hashed before it becomes visible. When the call returns, whatever it returns, the blob
        is as durable as the store makes anything.

        Args:
            digest: what the content must hash to.
            source: an ordinary file. It is not hashed if a blob of its length is stored under the digest.

        Returns:
            True if this call stored it; False if it was there. After a lost answer of a remote store, False
            may also mean that an earlier attempt of this very call stored it.

        Raises:
            DigestMismatchError: the content has another digest; nothing was stored.
            CorruptBlobError: something of another length is stored under the digest.
            SourceUnreadableError: `source` cannot be read.
            StoreUnavailableError: the store failed; nothing half-written is visible.
            StoreConfigurationError: the store refuses to be written.
        """
        ...

    def delete(self, digest: Digest) -> None:
        """Removes the blob; one that is not stored is no error.

        Raises:
            StoreUnavailableError: the store failed.
            StoreConfigurationError: the store refuses the deletion.
        """
        ...

    def remove_leftovers(self, before: datetime) -> int:
        """Removes what puts that were killed have left behind; nothing of it was ever visible.

        Args:
            before: with a time zone. Where a store cannot tell a killed put from a running one, it spares
                what was begun after this.

        Returns:
            How many leftovers were removed.

        Raises:
            StoreUnavailableError: the store failed, possibly after removing some.
            StoreConfigurationError: the store refuses.
        """
        ...
