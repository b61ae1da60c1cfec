"""Whether this process lives, and whether clients should be sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from converter.oci import Digest
from p2p_seed.errors import StoreError
from registry_hook.gateway.metrics import exposition
from registry_hook.gateway.sources import Source

PATHS: Final = frozenset({"/healthz", "/readyz"})
_PROBE_TIMEOUT_S: Final = 5.0
_SOME_DIGEST: Final = Digest.of(b"")


class Health:
    """Answers `/healthz`, `/readyz` and `/metrics`.

    Args:
        sources: have to answer for the gateway to be ready.
        refuses_everything: no redirect can be valid as this process is set up.
        metrics: what `/metrics` shows.
    """

    def __init__(
        self, sources: Sequence[Source], refuses_everything: bool, metrics: CollectorRegistry
    ) -> None:
        self._sources = sources
        self._refuses_everything = refuses_everything
        self._metrics = metrics
        self.stopping = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; an aiohttp low-level handler."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        if request.path == "/readyz":
            problems = await self.problems()
            return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")
        if request.path == "/metrics":
            headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            return web.Response(body=exposition(self._metrics), headers=headers)
        return web.Response(status=404)

    async def problems(self) -> list[str]:
        """Why clients should not be sent here, one line each."""
        if self.stopping:
            return ["stopping"]
        found = (
            ["gateway.closed_network is false, and no signature can be checked: every redirect is refused"]
            if self._refuses_everything
            else []
        )
        probes = await asyncio.gather(*(problem_of(source) for source in self._sources))
        return found + [problem for problem in probes if problem is not None]


async def problem_of(source: Source) -> str | None:
    """Why a source cannot be read, in one line; None if it can."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            blob = await source.open(_SOME_DIGEST, asked_by_push=True)
    except StoreError as error:
        return f"{source.name}: {error}"
    except TimeoutError:
        return f"{source.name}: no answer within {_PROBE_TIMEOUT_S:g} s"
    if blob is not None:
        blob.close()
    return None
