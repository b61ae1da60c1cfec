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
    try:
        at_once = _send_at_once(transport, file, start, length)
    except ConnectionError:
        raise
    except OSError as error:
        raise BrokenOffError(f"cannot read {file.name!r}: {error}", 0) from error
    if at_once < length:
        await _send_waiting(transport, file, start, at_once, length)


def _send_at_once(transport: asyncio.Transport, file: FileIO, start: int, length: int) -> int:
    """Sends what the socket takes now; returns how much that is.

    Small ranges fit into it whole, and asyncio's own way costs them another round of the event loop each.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_write_buffer_size():  # The header is not out yet.
        return 0
    try:
        return os.sendfile(connection.fileno(), file.fileno(), start, length)
    except BlockingIOError:
        return 0


async def _send_waiting(
    transport: asyncio.Transport, file: FileIO, start: int, already: int, length: int
) -> None:
    """Sends the rest, each time the socket takes more."""
    os.lseek(file.fileno(), start + already, os.SEEK_SET)
    rest = length - already
    try:
        sent = await asyncio.get_running_loop().sendfile(transport, file, start + already, rest)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        # asyncio leaves the file's offset behind the last byte it has sent.
        sent = os.lseek(file.fileno(), 0, os.SEEK_CUR) - start
        raise BrokenOffError(f"cannot read {file.name!r}: {error}", sent) from error
    if sent != rest:
        raise BrokenOffError(f"{file.name!r} has become shorter", already + sent)
