"""Handles one request: who is asked for the blob, in what order, and what becomes of failures."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import ClientConnectionError, web

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError, StoreError
from registry_hook.gateway.answers import Answer, error_answer
from registry_hook.gateway.delivery import Delivery
from registry_hook.gateway.metrics import Metrics
from registry_hook.gateway.redirect_checks import RedirectCheck, RedirectRefusedError
from registry_hook.gateway.settings import GatewaySettings
from registry_hook.gateway.sources import OpenBlob, Source, TooSlowError, within

# A source that has just failed is asked last: waiting for its timeouts again would hold up every client. A
# long rest harms nobody, since the source is still asked for what no other has.
REST_S: Final = 10.0

# How long a source may take to find a blob, again to begin with it, and for each further piece, while another
# could be asked instead.
# nydusd gives up after 5 s, and a server that accepts connections but answers none takes longer than that to
# fail.
PATIENCE_S: Final = 2.0

# In log and metrics only, where a status that was sent would mislead; the first as nginx writes it.
_CLIENT_GONE: Final = 499
_CUT: Final = 599

_Log = structlog.typing.FilteringBoundLogger


@dataclass
class _Record:
    """What the log and the metrics say about one request."""

    status: int = 0
    digest: Digest | None = None
    sources: list[str] = field(default_factory=list)
    sent_bytes: int = 0


class BlobHandler:
    """Answers requests for blobs; an aiohttp low-level handler.

    Args:
        settings: of the process.
        parse_path: the blob that a path without query names; None if it is no blob's path.
        check: which requests may have the blob that they name.
        sources: in the order of preference.
        metrics: counts what happens.
        log: gets one line for each request, without its query, credentials or anything else it carries.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        parse_path: Callable[[str], Digest | None],
        check: RedirectCheck,
        sources: Sequence[Source],
        metrics: Metrics,
        log: _Log,
    ) -> None:
        self._settings = settings
        self._parse_path = parse_path
        self._check = check
        self._sources = sources
        self._metrics = metrics
        self._log = log
        self._slots = asyncio.Semaphore(settings.max_responses)
        self._resting_until: dict[str, float] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        began = time.monotonic()
        record = _Record()
        try:
            response = await self._respond(request, record)
            record.status = record.status or response.status
        except (ConnectionError, ClientConnectionError, TimeoutError):
            record.status = _CLIENT_GONE
            response = _hang_up(request)
        except Exception:
            # A mistake of ours. The header may be out already, so there is nothing left to say.
            self._log.exception("request failed", digest=str(record.digest))
            record.status = 500
            response = _hang_up(request)
        finally:
            self._write_down(request, record, time.monotonic() - began)
        return response

    async def _respond(self, request: web.BaseRequest, record: _Record) -> web.StreamResponse:
        record.digest = self._parse_path(request.raw_path.partition("?")[0])
        if record.digest is None:
            return _response(error_answer(404))
        if request.method not in ("GET", "HEAD"):
            return _response(error_answer(405, {"Allow": "GET, HEAD"}))
        try:
            host = request.headers.get("Host", "")
            self._check.check(request.method, request.raw_path, host, time.time())
        except RedirectRefusedError as error:
            # Whoever wonders about a 403 needs this, access log or not.
            digest = str(record.digest)
            self._log.info("refused", client=request.remote, digest=digest, reason=error.reason)
            return _response(error_answer(403))
        with self._metrics.waiting.track_inprogress():
            await self._slots.acquire()
        try:
            with self._metrics.running.track_inprogress():
                return await self._serve(request, record.digest, record)
        finally:
            self._slots.release()

    async def _serve(self, request: web.BaseRequest, digest: Digest, record: _Record) -> web.StreamResponse:
        delivery = Delivery(request, digest)
        failed = False
        waiting = deque(self._in_order())
        slow: set[str] = set()
        while waiting:
            source = waiting.popleft()
            # Asked again because no other could help, a slow one gets all the time that it takes.
            hurried = bool(waiting) and source.name not in slow and not source.self_reliant
            patience_s = PATIENCE_S if hurried else None
            try:
                opening = source.open(digest, asked_by_push=request.method == "HEAD")
                blob = await within(patience_s, opening)
                if blob is not None:
                    return await self._take_from(source, blob, delivery, record, patience_s)
            except BlobNotFoundError:
                continue
            except TooSlowError as error:
                self._source_failed(source, digest, error)
                slow.add(source.name)
                waiting.append(source)
            except StoreError as error:
                failed = True
                self._source_failed(source, digest, error)
        if delivery.begun:
            self._metrics.cut.inc()
            record.status = _CUT
            return _hang_up(request)
        return _response(error_answer(503, {"Retry-After": "1"}) if failed else error_answer(404))

    async def _take_from(
        self,
        source: Source,
        blob: OpenBlob,
        delivery: Delivery,
        record: _Record,
        patience_s: float | None,
    ) -> web.StreamResponse:
        sent_before = delivery.sent_bytes
        record.sources.append(source.name)
        try:
            return await delivery.take_from(blob, patience_s)
        finally:
            blob.close()
            record.sent_bytes = delivery.sent_bytes
            self._metrics.bytes.labels(source.name).inc(delivery.sent_bytes - sent_before)

    def _in_order(self) -> list[Source]:
        now = time.monotonic()
        return sorted(self._sources, key=lambda source: self._resting_until.get(source.name, 0.0) > now)

    def _source_failed(self, source: Source, digest: Digest, error: StoreError) -> None:
        self._metrics.source_errors.labels(source.name).inc()
        if source.self_reliant:
            return  # It has said so itself, and for all requests that suffer from one failure once.
        self._resting_until[source.name] = time.monotonic() + REST_S
        self._log.warning("source failed", source=source.name, digest=str(digest), error=str(error))

    def _write_down(self, request: web.BaseRequest, record: _Record, took_s: float) -> None:
        method = request.method if request.method in ("GET", "HEAD") else "other"
        self._metrics.requests.labels(method, str(record.status)).inc()
        self._metrics.seconds.observe(took_s)
        if self._settings.access_log:
            self._log.info(
                "request",
                client=request.remote,
                method=method,
                digest=str(record.digest) if record.digest else None,
                range=request.headers.get("Range", "")[:100] or None,
                status=record.status,
                bytes=record.sent_bytes,
                sources=record.sources,
                milliseconds=round(took_s * 1000, 1),
            )


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, headers=answer.headers)


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """Resets the connection, so that the client cannot take what it has got for everything."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # Cannot be written any more.
