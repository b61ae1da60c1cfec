"""Stands in front of a server, counts what passes, and fails as it is told while programs run.

`FaultProxy` understands HTTP: it keeps a record of every exchange, and can answer errors, slow down, flip
bits and cut off. `TcpGate` passes bytes of any protocol on (gRPC), at an address that stays while the server
behind it moves. Both run in a thread of the test's own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import aiohttp
import yarl
from aiohttp import web

from tests.peers.server import LOOPBACK, free_port

_PIECE_BYTES: Final = 64 * 1024
_HEADER_BYTES: Final = 64 * 1024
# Of one connection only, so not to be passed on (RFC 9110 section 7.6.1); the length goes on by other ways.
_OWN_HEADERS: Final = {"connection", "keep-alive", "transfer-encoding", "upgrade", "expect", "content-length"}
# How long answers may still be sent when it is told to refuse; to aiohttp, 0 would mean for ever.
_END_S: Final = 0.05
# How often a slowed answer sends a little.
_SLOW_STEP_S: Final = 0.1

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong.

    Args:
        status: answer with this and ask nobody.
        rate_bytes_s: send bodies no faster than this, each on its own.
        flip: flip a bit in the middle of each body.
        cut_after_bytes: break the connection when this much of a body is sent.
        silent: take requests and never answer.
        path: only for requests whose path and query contain this.
    """

    status: int | None = None
    rate_bytes_s: float | None = None
    flip: bool = False
    cut_after_bytes: int | None = None
    silent: bool = False
    path: str = ""


@dataclass(slots=True)
class Exchange:
    """One request and what was answered.

    Args:
        method: of the request.
        path: of the request, with the query.
        headers: of the request; names in lower case.
        status: of the answer; 0 if there was none.
        body_bytes: how much of the answer's body was sent.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    status: int = 0
    body_bytes: int = 0


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class FaultProxy:
    """An HTTP server that asks another one; a context manager.

    Requests reach the other server as they came, with their `Host` too, which an S3 signature covers.

    Args:
        upstream: base URL of the server behind it.
        port: loopback port; a free one if none is given.
    """

    def __init__(self, upstream: str, port: int | None = None) -> None:
        self.upstream = upstream
        self.port = port or free_port()
        self.host = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.host}"
        self.exchanges: list[Exchange] = []
        self._faults: tuple[Fault, ...] = ()
        self._background = _Loop()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    def __enter__(self) -> Self:
        self._background.start()
        self._background.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._close())
        self._background.stop()

    def fail(self, *faults: Fault) -> None:
        """From now on, also in answers being sent, the first of these that fits happens to a request."""
        self._faults = faults

    def heal(self) -> None:
        """From now on everything works, unless connections are refused."""
        self._faults = ()

    def refuse(self) -> None:
        """Takes no more connections, and breaks those that there are."""
        self._background.run(self._stop_listening())

    def accept(self) -> None:
        """Takes connections again after `refuse`."""
        self._background.run(self._listen())

    def requests(self, path: str = "", method: str | None = None) -> list[Exchange]:
        """The exchanges so far whose path and query contain `path`, of one method or all."""
        return [
            exchange
            for exchange in list(self.exchanges)
            if path in exchange.path and method in (None, exchange.method)
        ]

    def body_bytes(self, path: str = "") -> int:
        """How many bytes of bodies went out in answers to requests whose path and query contain `path`."""
        return sum(exchange.body_bytes for exchange in self.requests(path))

    def forget(self) -> None:
        """Counts from zero again."""
        self.exchanges.clear()

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(limit=0),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        await self._listen()

    async def _close(self) -> None:
        await self._stop_listening()
        assert self._session is not None
        await self._session.close()

    async def _listen(self) -> None:
        server = web.Server(
            self._answer, access_log=None, max_line_size=_HEADER_BYTES, max_field_size=_HEADER_BYTES
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_END_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port, backlog=1024, reuse_address=True).start()

    async def _stop_listening(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _fault(self, exchange: Exchange) -> Fault:
        return next((fault for fault in self._faults if fault.path in exchange.path), Fault())

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        exchange = Exchange(request.method, request.raw_path, headers)
        self.exchanges.append(exchange)
        fault = self._fault(exchange)
        if fault.silent:
            await asyncio.Event().wait()
        if fault.status is not None:
            exchange.status = fault.status
            return web.Response(status=fault.status)
        try:
            return await self._pass_on(request, exchange)
        except (aiohttp.ClientError, OSError):
            _break(request)
            return web.Response(status=502)

    async def _pass_on(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        assert self._session is not None
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = [
            (name, value) for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS
        ]
        length = request.headers.get("Content-Length")
        if length is not None:
            headers.append(("Content-Length", length))
        async with self._session.request(
            request.method,
            yarl.URL(f"{self.upstream}{request.raw_path}", encoded=True),
            headers=headers,
            data=request.content.iter_any() if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _OWN_HEADERS - {"content-length"}:
                    response.headers.add(name, value)
            exchange.status = answer.status
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send_body(request, response, answer, exchange)
            return response

    async def _send_body(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        answer: aiohttp.ClientResponse,
        exchange: Exchange,
    ) -> None:
        middle = (answer.content_length or 1) // 2
        async for piece in self._pieces(answer, exchange):
            fault = self._fault(exchange)
            at = middle - exchange.body_bytes
            if fault.flip and 0 <= at < len(piece):
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            limit = fault.cut_after_bytes
            if limit is not None and exchange.body_bytes + len(piece) > limit:
                piece = piece[: max(0, limit - exchange.body_bytes)]
                await response.write(piece)
                exchange.body_bytes += len(piece)
                _break(request)
                return
            await response.write(piece)
            exchange.body_bytes += len(piece)

    async def _pieces(self, answer: aiohttp.ClientResponse, exchange: Exchange) -> AsyncIterator[bytes]:
        """The body in pieces, as fast as the fault of the moment allows."""
        async for large in answer.content.iter_chunked(_PIECE_BYTES):
            at = 0
            while at < len(large):
                rate = self._fault(exchange).rate_bytes_s
                size = len(large) if rate is None else max(1, int(rate * _SLOW_STEP_S))
                yield large[at : at + size]
                if rate is not None:
                    await asyncio.sleep(min(size, len(large) - at) / rate)
                at += size


class TcpGate:
    """Passes TCP connections on, to a target that can change; a context manager.

    Args:
        target: `host:port` behind it.
        port: loopback port; a free one if none is given.
    """

    def __init__(self, target: str, port: int | None = None) -> None:
        self.target = target
        self.port = port or free_port()
        self.host = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.host}"
        self._background = _Loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._background.start()
        self._background.run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._background.stop()

    def refuse(self) -> None:
        """Takes no more connections, and breaks those that there are."""
        self._background.run(self._stop_listening())

    def accept(self) -> None:
        """Takes connections again after `refuse`."""
        self._background.run(self._listen())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, backlog=1024)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        # The connections' tasks see that they are broken.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        with contextlib.suppress(OSError):
            self._writers.add(writer)
            behind_reader, behind_writer = await asyncio.open_connection(host, int(port))
            self._writers.add(behind_writer)
            try:
                await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))
            finally:
                behind_writer.transport.abort()
                self._writers.discard(behind_writer)
        writer.transport.abort()
        self._writers.discard(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


def _break(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
