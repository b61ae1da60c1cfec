"""The gateway process: listeners, sources, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from p2p_seed.errors import StoreConfigurationError
from p2p_seed.store import DirectoryStore, S3Access, open_store
from p2p_seed.store.chunk_lists import open_chunk_lists
from p2p_seed.supernode import SeedEngine
from registry_hook.errors import SettingsError
from registry_hook.gateway.access import origin_check, redirect_check
from registry_hook.gateway.answers import parse_path
from registry_hook.gateway.directory_source import DirectorySource
from registry_hook.gateway.handler import BlobHandler
from registry_hook.gateway.health import PATHS, Health, problem_of
from registry_hook.gateway.listeners import Handler, listen, url_of
from registry_hook.gateway.metrics import Metrics
from registry_hook.gateway.origin import Origin, parse_origin_path
from registry_hook.gateway.settings import GatewaySettings
from registry_hook.gateway.sources import Source
from registry_hook.gateway.stream_source import StreamSource

# Shorter than a worker's: clients wait for a source until it fails when no other has the blob.
_S3_CONNECT_TIMEOUT_S: Final = 2.0
_S3_READ_TIMEOUT_S: Final = 10.0
_S3_ATTEMPTS: Final = 2
# What people call the sources.
_SETTINGS: Final = {"store": "store.location", "registry": "gateway.origin"}

_Log = structlog.typing.FilteringBoundLogger
MakeEngine = Callable[[], SeedEngine]
# Name of the setting, what answers, host and port.
_Listener = tuple[str, Handler, str, int]


def run_gateway(
    settings: GatewaySettings,
    on_ready: Callable[[str], None] | None = None,
    make_engine: MakeEngine | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then lets running answers finish.

    Args:
        settings: of this process.
        on_ready: called once with the URL it listens on.
        make_engine: makes the engine of the P2P cluster, to seed again what is missing there.

    Raises:
        SettingsError: it cannot listen, or the sources cannot be used as configured.
    """
    asyncio.run(_until_signalled(settings, on_ready, make_engine))


async def _until_signalled(
    settings: GatewaySettings, on_ready: Callable[[str], None] | None, make_engine: MakeEngine | None
) -> None:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():  # Asked twice: whoever asks does not want to wait for running answers.
            os._exit(0)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    _allow_many_files()
    async with serving(settings, make_sources(settings), make_engine) as url:
        if on_ready is not None:
            on_ready(url)
        await stop.wait()


@contextlib.asynccontextmanager
async def serving(
    settings: GatewaySettings, sources: Sequence[Source], make_engine: MakeEngine | None = None
) -> AsyncIterator[str]:
    """A gateway inside a running event loop; on leaving, running answers get their time to finish.

    Args:
        settings: where to listen, and limits.
        sources: stores in the order of preference, behind the peers of the settings; they are closed at the
            end.
        make_engine: as for `run_gateway`.

    Yields:
        The URL it listens on.

    Raises:
        SettingsError: it cannot listen.
    """
    log: _Log = structlog.get_logger("gateway")
    figures = CollectorRegistry()
    metrics = Metrics("dragonhook_gateway", figures)
    in_order = [*await _peers(settings, figures, make_engine), *sources]
    blobs = BlobHandler(settings, parse_path, redirect_check(settings), in_order, metrics, log)
    state = Health(sources, settings.refuses_everything, figures)

    async def front(request: web.BaseRequest) -> web.StreamResponse:
        return await (state(request) if request.path in PATHS else blobs(request))

    listeners: list[_Listener] = [("gateway.listen", front, settings.host, settings.port)]
    if settings.origin_port is not None:
        # Stores only, never peers: those would fetch from themselves.
        log_of_origin: _Log = structlog.get_logger("origin")
        counted = Metrics("dragonhook_origin", figures)
        check = origin_check(settings)
        origin = Origin(BlobHandler(settings, parse_origin_path, check, sources, counted, log_of_origin))
        listeners.append(("gateway.origin_listen", origin, settings.origin_host, settings.origin_port))
    if settings.metrics_port is not None:
        listeners.append(("gateway.metrics_listen", state, settings.metrics_host, settings.metrics_port))
    runners: list[web.ServerRunner] = []
    try:
        for listener in listeners:
            runners.append(await listen(settings, *listener))
        urls = {setting: url_of(runner) for (setting, *_), runner in zip(listeners, runners, strict=True)}
        url = urls["gateway.listen"]
        _announce(log, settings, url)
        if settings.origin_port is not None:
            log.info("listening for peers", url=urls["gateway.origin_listen"])
        await _warn_of_missing(log, sources)
        yield url
    finally:
        state.stopping = True
        await _drain(runners, settings.drain_timeout_s, log)
        for source in in_order:
            await source.close()


def make_sources(settings: GatewaySettings) -> list[Source]:
    """Our store first, then the registry's storage, unless both are the same.

    Raises:
        SettingsError: a location cannot be used.
    """
    locations = {"store": (settings.store, settings.store_s3)}
    if settings.registry_storage not in (None, settings.store):
        locations["registry"] = (str(settings.registry_storage), settings.registry_s3)
    sources: list[Source] = []
    for name, (location, s3) in locations.items():
        try:
            store = open_store(location, _impatient(s3 or S3Access(), settings.stream_threads))
        except StoreConfigurationError as error:
            raise SettingsError(f"{_SETTINGS[name]}: {error}") from error
        if isinstance(store, DirectoryStore):
            sources.append(DirectorySource(name, store))
        else:
            sources.append(StreamSource(name, store, settings.stream_threads))
    return sources


async def _peers(
    settings: GatewaySettings, figures: CollectorRegistry, make_engine: MakeEngine | None
) -> list[Source]:
    if settings.peers is None:
        return []
    try:
        access = _impatient(settings.store_s3 or S3Access(), settings.stream_threads)
        lists = open_chunk_lists(settings.store, access)
    except StoreConfigurationError as error:
        raise SettingsError(f"{_SETTINGS['store']}: {error}") from error
    # aiohttp's client and grpc take a moment to load, and many installations do without.
    from registry_hook.gateway.p2p.making import make_p2p_source

    return [await make_p2p_source(settings.peers, lists, figures, make_engine)]


def _impatient(access: S3Access, connections: int) -> S3Access:
    return dataclasses.replace(
        access,
        connect_timeout_s=min(access.connect_timeout_s, _S3_CONNECT_TIMEOUT_S),
        read_timeout_s=min(access.read_timeout_s, _S3_READ_TIMEOUT_S),
        attempts=min(access.attempts, _S3_ATTEMPTS),
        connections=connections,
    )


async def _drain(runners: list[web.ServerRunner], timeout_s: float, log: _Log) -> None:
    try:
        # aiohttp would wait for its answers this long, and as long again once they are cancelled.
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*(runner.cleanup() for runner in runners))
    except TimeoutError:
        log.warning("answers cut off at the end", after_s=timeout_s)


def _announce(log: _Log, settings: GatewaySettings, url: str) -> None:
    log.info("listening", url=url, store=settings.store, origin=settings.registry_storage)
    if settings.refuses_everything:
        log.error(
            "every blob is refused with 403: redirects are not signed, so only the network can decide who may"
            " read; where it does, set gateway.closed_network = true, else have them signed and set"
            " gateway.sigv4 or gateway.cloudfront"
        )
    if settings.registry_storage is None:
        log.warning("gateway.origin is not set: blobs that are not converted are answered with 404")


async def _warn_of_missing(log: _Log, sources: Sequence[Source]) -> None:
    """Tells of directories that are not there. S3 is left to `/readyz`: it may answer late, and soon."""
    for source in sources:
        problem = await problem_of(source) if isinstance(source, DirectorySource) else None
        if problem is not None:
            log.warning(
                "a source of blobs cannot be read: they are answered with 503 until it can",
                setting=_SETTINGS.get(source.name),
                error=problem,
            )


def _allow_many_files() -> None:
    """Each answer needs a socket and perhaps a file; the usual soft limit of 1024 is for select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
