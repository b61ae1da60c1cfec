"""A gateway in a thread of its own, a client that hides nothing, and sources that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import StoreError
from p2p_seed.store import DirectoryStore
from p2p_seed.store.keys import blob_key
from p2p_seed.supernode import SeedEngine
from registry_hook.gateway.directory_source import DirectorySource
from registry_hook.gateway.server import serving
from registry_hook.gateway.settings import GatewaySettings
from registry_hook.gateway.sources import BrokenOffError, OpenBlob, Source

SETTINGS = GatewaySettings(store="not used here", port=0, closed_network=True, drain_timeout_s=5)


@contextlib.contextmanager
def running(
    sources: Sequence[Source],
    settings: GatewaySettings = SETTINGS,
    make_engine: Callable[[], SeedEngine] | None = None,
) -> Iterator[str]:
    """Runs a gateway on these sources, and yields its URL."""
    started: queue.Queue[str | BaseException] = queue.Queue()
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with serving(settings, sources, make_engine) as url:
            started.put(url)
            await stop.wait()

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            started.put(error)

    thread = threading.Thread(target=main)
    thread.start()
    outcome = started.get(timeout=10)
    if isinstance(outcome, BaseException):
        thread.join(10)
        raise outcome
    try:
        yield outcome
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(url: str, path: str, method: str = "GET", **headers: str) -> Reply:
    """One request on a connection of its own; `_` in header names is a hyphen.

    Raises:
        http.client.IncompleteRead: fewer bytes came than announced.
    """
    address = urlsplit(url)
    with contextlib.closing(
        http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    ) as link:
        link.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = link.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())


@contextlib.contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    """An HTTP connection for several requests."""
    address = urlsplit(url)
    link = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    with contextlib.closing(link):
        yield link


def dialled(url: str) -> socket.socket:
    """A bare connection."""
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20)


def blob_path(digest: Digest, prefix: str = "/") -> str:
    return prefix + blob_key(digest)


def stored(directory: Path, *contents: bytes) -> tuple[Path, list[Digest]]:
    """A directory store with some blobs."""
    root = directory / "store"
    root.mkdir(parents=True)
    digests = [Digest.of(content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        source = directory / "source"
        source.write_bytes(content)
        DirectoryStore(root).put(digest, source)
    return root, digests


def directory_source(root: Path, name: str = "store") -> DirectorySource:
    return DirectorySource(name, DirectoryStore(root))


@dataclass
class FakeSource:
    """Blobs in memory.

    Args:
        blobs: what it has.
        open_error: raised on every open.
        begin_error: raised on every begin.
        breaks_at: sends up to this byte of the blob and then fails.
        crash: raised in the middle; a mistake in our own code.
        gate: opening waits for it.
        claims: sizes that differ from the truth.
    """

    name: str
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    open_error: StoreError | None = None
    begin_error: StoreError | None = None
    breaks_at: int | None = None
    crash: Exception | None = None
    gate: threading.Event | None = None
    opened: int = 0
    closed: int = 0
    under_way: int = 0
    most_under_way: int = 0
    asked_by_push: list[bool] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    self_reliant: bool = False

    async def open(self, digest: Digest, asked_by_push: bool) -> OpenBlob | None:
        self.asked_by_push.append(asked_by_push)
        if self.open_error is not None:
            raise self.open_error
        if digest not in self.blobs:
            return None
        self.opened += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        while self.gate is not None and not self.gate.is_set():
            await asyncio.sleep(0.01)
        return FakeBlob(self, self.blobs[digest])

    async def close(self) -> None:
        pass


class FakeBlob:
    def __init__(self, source: FakeSource, content: bytes) -> None:
        self.size = len(content)
        self._source = source
        self._content = content
        self._rest = (0, 0)

    async def begin(self, start: int, length: int) -> bytes:
        self._source.ranges.append((start, length))
        if self._source.begin_error is not None:
            raise self._source.begin_error
        half = start + length // 2
        self._rest = (half, start + length)
        end = half if self._source.breaks_at is None else min(half, max(start, self._source.breaks_at))
        self._rest = (end, start + length)
        return self._content[start:end]

    async def send_rest(
        self, request: web.BaseRequest, response: web.StreamResponse, patience_s: float | None
    ) -> None:
        if self._source.crash is not None:
            raise self._source.crash
        start, end = self._rest
        breaks_at = self._source.breaks_at
        stop = end if breaks_at is None else min(end, max(start, breaks_at))
        await response.write(self._content[start:stop])
        if stop != end:
            raise BrokenOffError(f"{self._source.name} broke", stop - start)

    def close(self) -> None:
        self._source.closed += 1
        self._source.under_way -= 1
