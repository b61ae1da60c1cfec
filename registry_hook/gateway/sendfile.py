"""Sends a part of an open file to a client without copying it through this process."""

from __future__ import annotations

import asyncio
import os
from io import FileIO

from aiohttp import web

from registry_hook.gateway.sources import BrokenOffError


async def send_file_part(request: web.BaseRequest, file: FileIO, start: int, length: int) -> None:
    """Sends [start, start + length) behind a header that is out.

    Args:
        request: where the bytes go.
        file: nobody else moves its offset meanwhile.
        start: first byte.
        length: number of bytes.

    Raises:
        BrokenOffError: the file cannot be read any more, or has become shorter.
        ConnectionError: the client is gone.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    os.lseek(file.fileno(), start, os.SEEK_SET)
    try:
        sent = await asyncio.get_running_loop().sendfile(transport, file, start, length)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        # asyncio leaves the file's offset behind the last byte it has sent.
        sent = os.lseek(file.fileno(), 0, os.SEEK_CUR) - start
        raise BrokenOffError(f"cannot read {file.name!r}: {error}", sent) from error
    if sent != length:
        raise BrokenOffError(f"{file.name!r} has become shorter", sent)
