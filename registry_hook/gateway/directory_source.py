"""Serves the files of a local directory, large parts by sendfile.

Opening and reading happens in the event loop: with a warm page cache a thread costs more than it saves, and
sendfile waits for a cold disk there anyway. Figures: docs/adr/0031-aiohttp-for-the-gateway.md.
"""

from __future__ import annotations

import asyncio
import os
from io import FileIO
from typing import Final

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError, StoreUnavailableError
from p2p_seed.store import DirectoryStore
from registry_hook.gateway.sources import BrokenOffError, OpenBlob

# Up to here header and body in one write are faster than asyncio's sendfile, which first waits for the header
# to leave and registers with the selector.
COPIED_BYTES: Final = 128 * 1024


class DirectorySource:
    """Blobs of a directory.

    Args:
        name: for logs and metrics.
        store: where the files are.
    """

    def __init__(self, name: str, store: DirectoryStore) -> None:
        self.name = name
        self._store = store

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:  # noqa: ARG002  always fresh
        """See `Source.open`."""
        try:
            return _OpenFile(self._store.open_file(digest))
        except BlobNotFoundError:
            return None


class _OpenFile:
    def __init__(self, file: FileIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        self._position = self._end = 0

    async def begin(self, start: int, length: int) -> bytes:
        self._position, self._end = start, start + length
        if length > COPIED_BYTES:
            return b""
        try:
            content = os.pread(self._file.fileno(), length, start)
        except OSError as error:
            raise StoreUnavailableError(f"cannot read {self._file.name!r}: {error}") from error
        if len(content) != length:
            raise StoreUnavailableError(f"{self._file.name!r} has become shorter")
        self._position = self._end
        return content

    async def send_rest(self, request: web.BaseRequest, response: web.StreamResponse) -> None:  # noqa: ARG002
        length = self._end - self._position
        if length == 0:
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        os.lseek(self._file.fileno(), self._position, os.SEEK_SET)
        try:
            sent = await asyncio.get_running_loop().sendfile(transport, self._file, self._position, length)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # asyncio leaves the file's offset behind the last byte it has sent.
            sent = os.lseek(self._file.fileno(), 0, os.SEEK_CUR) - self._position
            raise BrokenOffError(f"cannot read {self._file.name!r}: {error}", sent) from error
        if sent != length:
            raise BrokenOffError(f"{self._file.name!r} has become shorter", sent)

    def close(self) -> None:
        self._file.close()
