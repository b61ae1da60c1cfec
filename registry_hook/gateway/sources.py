"""What the gateway needs of a place with blobs.

A source opens a blob, and the open blob sends a part of itself to a client. Which source is asked when, and
what happens when one fails, is decided in `handler.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import StoreUnavailableError


class BrokenOffError(StoreUnavailableError):
    """A source failed after a part was sent.

    Args:
        message: why.
        sent_bytes: how much of what was to be sent has gone to the client.
    """

    def __init__(self, message: str, sent_bytes: int) -> None:
        super().__init__(message)
        self.sent_bytes = sent_bytes


class TooSlowError(StoreUnavailableError):
    """A source did not answer in the time it was given; it may answer yet."""


class StalledError(BrokenOffError, TooSlowError):
    """A source became too slow after a part was sent; it may go on yet."""


_Result = TypeVar("_Result")


async def within(patience_s: float | None, answer: Awaitable[_Result]) -> _Result:
    """What a source answers, if it does so in time.

    Args:
        patience_s: how long to wait; None waits for as long as the source itself does.
        answer: what `Source.open` or `OpenBlob.begin` returned; cancelled when the time is over.

    Raises:
        TooSlowError: the time is over.
    """
    try:
        async with asyncio.timeout(patience_s):
            return await answer
    except TimeoutError as error:
        raise TooSlowError(f"no answer within {patience_s} s") from error


class OpenBlob(Protocol):
    """A blob of one source, ready to send one range."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    async def begin(self, start: int, length: int) -> bytes:
        """Gets hold of the first bytes of a range, which finds out in time whether the source works.

        Args:
            start: first byte.
            length: number of bytes, at least 1.

        Returns:
            What to send first: some of it, all of it, or nothing yet.

        Raises:
            StoreError: the source failed.
        """
        ...

    async def send_rest(
        self, request: web.BaseRequest, response: web.StreamResponse, patience_s: float | None
    ) -> None:
        """Sends what follows the bytes that `begin` returned.

        Args:
            request: where the bytes go.
            response: its answer, whose header is out.
            patience_s: how long to wait for each further piece of the source; None waits for as long as the
                source itself does.

        Raises:
            BrokenOffError: the source failed on the way; a `StalledError` if it may only be slow.
            ConnectionError: the client is gone.
        """
        ...

    def close(self) -> None:
        """Releases what was opened; never waits."""
        ...


class Source(Protocol):
    """One place with blobs."""

    @property
    def name(self) -> str:
        """What logs and metrics call it."""
        ...

    @property
    def self_reliant(self) -> bool:
        """Whether it keeps its own time and spares its own failing parts.

        Then it is asked in its turn each time, and nobody hurries it. Otherwise it is given a limited time,
        and asked last for a while after a failure.
        """
        ...

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:
        """Opens a blob; None if the source does not have it.

        Args:
            digest: names the blob.
            asked_by_push: the answer decides whether a client uploads the blob, so nothing remembered will
                do.

        Raises:
            StoreError: it cannot be told.
        """
        ...

    async def close(self) -> None:
        """Gives back threads and connections, without waiting for those in use."""
        ...
