"""Serves the files of a local directory by sendfile.

Opening and reading happens in the event loop: with a warm page cache a thread costs more than it saves, and
sendfile waits for a cold disk there anyway. Figures: docs/adr/0031-aiohttp-for-the-gateway.md.
"""

from __future__ import annotations

import os
from io import FileIO

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError
from p2p_seed.store import DirectoryStore
from registry_hook.gateway.sendfile import send_file_part
from registry_hook.gateway.sources import OpenBlob


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
        await send_file_part(request, self._file, self._start, self._length)

    def close(self) -> None:
        self._file.close()
