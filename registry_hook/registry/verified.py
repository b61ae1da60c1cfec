"""Streams that are checked against their descriptor while they are read.

The rule: nobody gets the last byte of wrong content. The stream counts and hashes, withholds its last piece
until length and digest are right, and stops at the first byte too many. A connection that breaks in between
is taken up again at the byte reached; since the hash runs on, a server that goes on with other content is
caught.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from converter.oci import Descriptor, Digest
from registry_hook.registry.errors import DigestMismatchError, RegistryUnavailableError, SizeMismatchError
from registry_hook.registry.retry import RetryPolicy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Opens the content at a byte offset. The pieces raise RegistryUnavailableError where the connection breaks.
OpenAt: TypeAlias = Callable[[int], AbstractContextManager[Iterator[bytes]]]

ONCE: Final = RetryPolicy(attempts=1)
_BUFFER_BYTES: Final = 256 * 1024
# A stream that got this far since its last break starts to count breaks anew.
_PROGRESS_BYTES: Final = 4 * 1024 * 1024


def open_verified(what: str, descriptor: Descriptor, open_at: OpenAt, retry: RetryPolicy) -> BinaryIO:
    """A readable stream of the content of `descriptor`, to be closed by the caller.

    Args:
        what: the content's name in errors.
        descriptor: digest and size in bytes that the content must have.
        open_at: opens the content at an offset.
        retry: how often to take a broken stream up again.
    """
    return io.BufferedReader(_VerifiedPieces(what, descriptor, open_at, retry), _BUFFER_BYTES)


def open_verified_local(descriptor: Descriptor, source: Path | bytes) -> AbstractContextManager[BinaryIO]:
    """The same for content of our own, which is checked before or while it goes out."""

    @contextmanager
    def open_at(start: int) -> Iterator[Iterator[bytes]]:
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        with stream:
            stream.seek(start)
            yield iter(partial(stream.read, _BUFFER_BYTES), b"")

    return closing(open_verified(f"blob {descriptor.digest} to store", descriptor, open_at, ONCE))


class _VerifiedPieces(io.RawIOBase):
    """The checking itself; `open_verified` puts a buffer round it."""

    def __init__(self, what: str, descriptor: Descriptor, open_at: OpenAt, retry: RetryPolicy) -> None:
        super().__init__()
        self._what = what
        self._descriptor = descriptor
        self._open_at = open_at
        self._attempts = retry.start()
        self._hash = hashlib.sha256()
        self._received = 0
        self._received_at_break = 0
        self._complete = False
        self._pending = memoryview(b"")
        self._connection = ExitStack()
        self._pieces: Iterator[bytes] | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Reads at least one byte; 0 at the end of content that is right.

        Raises:
            SizeMismatchError: the content is too long or too short.
            DigestMismatchError: the content has another digest.
            RegistryUnavailableError: the connection broke too often.
        """
        while not self._pending and not self._complete:
            self._fill()
        with memoryview(buffer).cast("B") as view:
            count = min(len(view), len(self._pending))
            view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def close(self) -> None:
        """Closes the connection; unread content is not checked."""
        if not self.closed:
            self._connection.close()
        super().close()

    def _fill(self) -> None:
        """Takes one piece from the connection, and checks everything if it is the last one."""
        if self._received < self._descriptor.size:
            piece = self._next_piece()
            self._hash.update(piece)
            self._received += len(piece)
            self._check_not_too_long()
        else:
            piece = b""
        if self._received == self._descriptor.size:
            self._finish()
        self._pending = memoryview(piece)

    def _next_piece(self) -> bytes:
        """The next bytes, from a new connection if the old one broke."""
        while True:
            if self._pieces is None:
                self._pieces = self._connection.enter_context(self._open_at(self._received))
            try:
                piece = next(self._pieces, None)
            except RegistryUnavailableError:
                self._disconnect()
                if not self._may_resume():
                    raise
                continue
            if piece is not None:
                return piece
            # Some servers end a body in order although they have more to send; asking for the rest tells.
            self._disconnect()
            if not self._may_resume():
                raise SizeMismatchError(self._what, self._descriptor.size, self._received)

    def _disconnect(self) -> None:
        self._pieces = None
        self._connection.close()
        self._connection = ExitStack()

    def _may_resume(self) -> bool:
        if self._received - self._received_at_break >= _PROGRESS_BYTES:
            self._attempts.progressed()
        self._received_at_break = self._received
        return self._attempts.again()

    def _finish(self) -> None:
        if self._pieces is not None:
            # All bytes are here: a connection that breaks only now harms nobody.
            with suppress(RegistryUnavailableError):
                self._received += len(next(self._pieces, b""))
        self._check_not_too_long()
        actual = Digest(self._hash.hexdigest())
        if actual != self._descriptor.digest:
            raise DigestMismatchError(self._what, self._descriptor.digest, actual)
        self._complete = True

    def _check_not_too_long(self) -> None:
        if self._received > self._descriptor.size:
            raise SizeMismatchError(self._what, self._descriptor.size, self._received)
