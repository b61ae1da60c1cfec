"""Serves the files of a local directory by sendfile.

Opening and reading happens in the event loop: with a warm page cache a thread costs more than it saves, and
sendfile waits for a cold disk there anyway. Figures: docs/adr/0031-aiohttp-for-the-gateway.md.
"""

from __future__ import annotations

import asyncio
import os
from io import FileIO

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError
from p2p_seed.store import DirectoryStore
from registry_hook.gateway.sources import BrokenOffError, OpenBlob


class DirectorySource:
    """Blobs of a directory.

    Args:
        name: for logs and metrics.
        store: where the files are.
    """

    def __init__(self, name: str, store: DirectoryStore) -> None:
        self.name = name
        self.self_reliant = False
        self._store = store

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:  # noqa: ARG002  always fresh
        """See `Source.open`."""
        try:
            return _OpenFile(self._store.open_file(digest))
        except BlobNotFoundError:
            return None

    async def close(self) -> None:
        """See `Source.close`: there is nothing to give back."""


class _OpenFile:
    def __init__(self, file: FileIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        self._start = self._length = 0

    async def begin(self, start: int, length: int) -> bytes:
        self._start, self._length = start, length
        return b""

    async def send_rest(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,  # noqa: ARG002
        patience_s: float | None,  # noqa: ARG002  sendfile waits for the client only
    ) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        os.lseek(self._file.fileno(), self._start, os.SEEK_SET)
        try:
            sent = await asyncio.get_running_loop().sendfile(transport, self._file, self._start, self._length)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # asyncio leaves the file's offset behind the last byte it has sent.
            sent = os.lseek(self._file.fileno(), 0, os.SEEK_CUR) - self._start
            raise BrokenOffError(f"cannot read {self._file.name!r}: {error}", sent) from error
        if sent != self._length:
            raise BrokenOffError(f"{self._file.name!r} has become shorter", sent)

    def close(self) -> None:
        self._file.close()
