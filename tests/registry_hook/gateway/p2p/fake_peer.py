"""A seed peer's proxy that speaks what dfdaemon 1.5.10 speaks, and misbehaves as told.

What it does when all is well is from `proxy/mod.rs` of dragonfly-client 1.5.10: the origin's headers are
passed on, `X-Dragonfly-Task-Download-Finished` only where the whole blob was there, error answers have a type
and no body, and an answer that breaks off resets the connection.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from converter.oci import Digest
from p2p_seed.locate import SeedPeer
from registry_hook.gateway.ranges import parse_range

PIECE_BYTES = 64 << 10


@dataclass
class PeerRequest:
    target: str
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


@dataclass
class FakePeer:
    """A context manager; everything may be switched while it runs.

    Args:
        blobs: what it can get.
        held: whether it has them already.
        status: answers with this error.
        error_type: whose error that is.
        hangs: takes requests and answers none.
        stalls_at: stops at this byte of the blob, but keeps the connection.
        cut_at: breaks off there.
        flip_at: this byte of the blob is wrong.
        ignores_range: answers 200 with everything.
        claims: says that blobs have this length.
        bytes_per_s: sends no faster.
    """

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    held: bool = True
    status: int | None = None
    error_type: str = "dfdaemon"
    hangs: bool = False
    stalls_at: int | None = None
    cut_at: int | None = None
    flip_at: int | None = None
    ignores_range: bool = False
    claims: int | None = None
    bytes_per_s: int | None = None
    requests: list[PeerRequest] = field(default_factory=list)
    sent_bytes: int = 0
    url: str = ""
    grpc: str = ""

    @property
    def seed_peer(self) -> SeedPeer:
        return SeedPeer(self.grpc, self.url)

    def __enter__(self) -> Self:
        started: queue.Queue[int] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run(started)))
        self._thread.start()
        port = started.get(timeout=10)
        self.url, self.grpc = f"http://127.0.0.1:{port}", self.grpc or f"127.0.0.1:{port + 1}"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends at once, in the middle of answers, as a process that is killed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
            assert not self._thread.is_alive()

    async def _run(self, started: queue.Queue[int]) -> None:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        started.put(runner.addresses[0][1])
        await self._end.wait()
        for connection in runner.server.connections if runner.server else []:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._serve(request)
        except ConnectionError:  # The gateway has given up, or we were told to.
            return web.Response(status=500)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(PeerRequest(request.raw_path, dict(request.headers)))
        if self.hangs:
            await self._end.wait()
        if self.status is not None:
            return self._error(self.status, self.error_type)
        digest = Digest(request.path.rpartition(":")[2])
        if digest not in self.blobs:
            return self._error(404, "backend")
        return await self._send(request, self.blobs[digest])

    def _error(self, status: int, kind: str) -> web.StreamResponse:
        return web.Response(status=status, headers={"X-Dragonfly-Error-Type": kind})

    async def _send(self, request: web.BaseRequest, content: bytes) -> web.StreamResponse:
        wanted = None if self.ignores_range else request.headers.get("Range")
        start, end = (0, len(content)) if wanted is None else parse_range(wanted, len(content)) or (0, 0)
        size = len(content) if self.claims is None else self.claims
        headers = {
            "Content-Length": str(end - start if wanted else size),
            "X-Dragonfly-Task-Id": "0" * 64,
            "X-Dragonfly-Server-Ip": "127.0.0.1",
        }
        if wanted is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if self.held:
            headers["X-Dragonfly-Task-Download-Finished"] = "true"
        response = web.StreamResponse(status=206 if wanted else 200, headers=headers)
        await response.prepare(request)
        for position in range(start, end, PIECE_BYTES):
            piece = bytearray(content[position : min(end, position + PIECE_BYTES)])
            if self.flip_at is not None and position <= self.flip_at < position + len(piece):
                piece[self.flip_at - position] ^= 1
            for limit, after in ((self.cut_at, self._cut), (self.stalls_at, self._stall)):
                if limit is not None and position <= limit < position + len(piece):
                    await response.write(piece[: limit - position])
                    await after(request)
            await response.write(piece)
            self.sent_bytes += len(piece)
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
        return response

    async def _cut(self, request: web.BaseRequest) -> None:
        await asyncio.sleep(0.05)  # So that what was written before arrives.
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError

    async def _stall(self, request: web.BaseRequest) -> None:
        await self._end.wait()
