"""Listeners: sockets that give up peers which take nothing, and HTTP servers that log no secrets."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from registry_hook.errors import SettingsError
from registry_hook.gateway.settings import GatewaySettings

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BACKLOG: Final = 1024
_KEEPALIVE_S: Final = 75.0
# Tokens that Go clients pass on to a gateway on the registry's host can be longer than aiohttp's 8 KiB.
_HEADER_BYTES: Final = 64 * 1024


async def listen(
    settings: GatewaySettings, setting: str, handler: Handler, host: str, port: int
) -> web.ServerRunner:
    """Starts a listener.

    Args:
        settings: limits of the process.
        setting: what names the address in the settings file, for the message.
        handler: answers requests; an aiohttp low-level handler.
        host: address to listen on.
        port: TCP port; 0 takes a free one.

    Raises:
        SettingsError: it cannot listen there.
    """
    server = web.Server(
        handler,
        access_log=None,
        logger=_http_log(),
        keepalive_timeout=_KEEPALIVE_S,
        max_field_size=_HEADER_BYTES,
        max_line_size=_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=settings.drain_timeout_s)
    await runner.setup()
    await web.SockSite(runner, _bound_socket(settings, setting, host, port), backlog=_BACKLOG).start()
    return runner


def _http_log() -> logging.Logger:
    """Where aiohttp reports requests that are not HTTP."""
    log = logging.getLogger("gateway.http")
    log.addFilter(_without_the_request)
    return log


def _without_the_request(record: logging.LogRecord) -> bool:
    # The exception quotes the line that is wrong, and that may be the one with the token.
    if record.exc_info and record.exc_info[0]:
        record.msg = f"{record.msg}: {record.exc_info[0].__name__}"
    record.exc_info = None
    return True


def _bound_socket(settings: GatewaySettings, setting: str, host: str, port: int) -> socket.socket:
    """A socket whose connections inherit that a peer which takes nothing for long is given up."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stall_ms = int(settings.stall_timeout_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall_ms)
        listener.bind(address)
    except OSError as error:
        raise SettingsError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def url_of(runner: web.ServerRunner) -> str:
    """Where a listener is to be reached."""
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
