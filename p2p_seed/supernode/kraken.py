"""The engine for Kraken: its origins are asked for a blob's metainfo, which has them fetch it.

Written against version 0.1.4 and run against it: origin, tracker and agents. This is what Kraken's own proxy
does when a registry notifies it of a push (`proxy/proxyserver/preheat.go`), for every blob and not only for
those that a Docker manifest names. What one has to know of it:

- An origin fetches from the backend of a *namespace*, checks the SHA-256 itself before it keeps anything,
  and copies the blob to the other origins that it belongs to. It keeps it over a restart, and drops what
  nobody read for `tti` (6 hours by default) or that is older than `ttl`.
- No backend of Kraken can sign a URL for each blob. So the private origin has to be unsigned for it
  (`registry_blob`, `http`), or it reads the bucket itself (`s3` with `name_path: sharded_docker_blob`, which
  is the layout of our store and of Distribution's registry).
- An agent fetches a blob whole before it answers. Its registry then serves ranges of it, its own API none.
  So a lazy pull costs the whole blob at its first read, and we call that no ranges.
- An agent names a blob by its digest, whatever namespace or repository a client asks.
- Nobody lists the agents that have a blob. Agents drop theirs after a day; all came from an origin that
  checked them.
- An agent that was told to drop a blob needs half a minute until an origin talks to it about that blob again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlsplit

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineConfigurationError, EngineError, EngineUnavailableError
from p2p_seed.supernode.engine import Capabilities, EngineHealth, OnProgress, SeedOutcome, unheard
from p2p_seed.supernode.http_part import HttpPart
from p2p_seed.supernode.patience import Patience

_REPLICATION_S: Final = 30.0
_MOST_ORIGINS: Final = 64


class KrakenEngine:
    """Has the origins that a blob belongs to fetch it, and reads it through an agent.

    Args:
        origin: base URL of any origin of the cluster.
        agent: base URL of an agent's own server (not of its registry).
        namespace: one whose backend in Kraken's configuration leads to our blobs.
        timeout_s: for one blob.
    """

    def __init__(self, origin: str, agent: str, namespace: str, timeout_s: float = 1800.0) -> None:
        self._timeout_s = timeout_s
        self._scheme = urlsplit(origin).scheme
        self._namespace = quote(namespace, safe="")
        self._origin = HttpPart("the Kraken origin", origin)
        # An agent answers when it has all of a blob.
        self._agent = HttpPart("the Kraken agent", agent, stall_s=timeout_s)

    @property
    def name(self) -> str:
        """`kraken`, as in the settings."""
        return "kraken"

    @property
    def capabilities(self) -> Capabilities:
        """No ranges: an agent fetches a whole blob for the first byte."""
        return Capabilities(ranges=False, one_task_per_blob=True, presence=True, deletion=True)

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        """See `SeedEngine.seed`. Kraken does not say how far it is, so progress is all or nothing."""
        if not blob.size:
            return SeedOutcome(
                blob.digest, seeded=True, reason="empty: there is nothing to bring", origin_bytes=0
            )

        def alive() -> None:
            on_progress(0)

        names = self._locations(blob.digest)
        self._fetch(names[0], blob, alive, self._timeout_s)
        for name in names[1:]:
            self._replicated(name, blob, alive)
        found = self._agent.read(self._path(blob.digest), blob.size, alive)
        if found.digest != blob.digest:
            self.forget(blob.digest)
            reason = f"not seeded: {self._agent.where} gave bytes of {found.digest}; they were deleted"
            return SeedOutcome(blob.digest, seeded=False, reason=reason)
        on_progress(blob.size)
        reason = f"on {', '.join(names)}; read back through {self._agent.where}: the SHA-256 is right"
        return SeedOutcome(blob.digest, seeded=True, reason=reason)

    def holds(self, blob: Descriptor) -> bool:
        """See `SeedEngine.holds`: whether all origins that it belongs to have it."""
        return not blob.size or all(self._has(name, blob) for name in self._locations(blob.digest))

    def forget(self, digest: Digest) -> None:
        """See `SeedEngine.forget`: origins and our agent. Other agents cannot be found."""
        for name in self._locations(digest):
            with _Part(self._scheme, name) as part:
                part.ask("DELETE", f"/internal/blobs/{digest}", expected=(202, 404))
        self._agent.ask("DELETE", f"/blobs/{digest}")

    def health(self) -> EngineHealth:
        """See `SeedEngine.health`. That a tracker is gone shows at the next proof only."""
        wrong = self._origin.answers("/health") or self._agent.answers("/health")
        return EngineHealth(wrong is None, wrong or "origin and agent answer")

    def close(self) -> None:
        """See `SeedEngine.close`."""
        self._origin.close()
        self._agent.close()

    def _path(self, digest: Digest) -> str:
        return f"/namespace/{self._namespace}/blobs/{digest}"

    def _locations(self, digest: Digest) -> list[str]:
        """`host:port` of the origins that a blob belongs to, by Kraken's hash ring."""
        answer = self._origin.ask("GET", f"/blobs/{digest}/locations")
        names = [name for name in answer.headers.get("Origin-Locations", "").split(",") if name]
        if not 0 < len(names) <= _MOST_ORIGINS:
            raise EngineConfigurationError(
                f"{self._origin.where} names {len(names)} origins: is it one itself?"
            )
        return names

    def _has(self, name: str, blob: Descriptor) -> bool:
        with _Part(self._scheme, name) as part:
            path = f"/internal{self._path(blob.digest)}"
            answer = part.ask("HEAD", path, expected=(200, 404), params={"local": "true"})
        return answer.status == 200 and answer.headers.get("Content-Length") == str(blob.size)

    def _fetch(self, name: str, blob: Descriptor, alive: Callable[[], None], timeout_s: float) -> None:
        """Has one origin fetch a blob, unless it has it, and waits until it has checked it."""
        path = f"/internal{self._path(blob.digest)}/metainfo"
        with _Part(self._scheme, name) as part:
            patience = Patience(timeout_s)
            while True:
                # 503: as many downloads as it does at a time are under way.
                answer = part.ask("GET", path, expected=(200, 202, 404, 503))
                if answer.status == 200:
                    break
                if answer.status == 404:
                    raise EngineError(f"the backend of {part.where} does not have {blob.digest}")
                patience.pause(f"{blob.digest} at {part.where}", alive)
        if not self._has(name, blob):
            raise EngineUnavailableError(f"{name} has {blob.digest}, but not of {blob.size} bytes")

    def _replicated(self, name: str, blob: Descriptor, alive: Callable[[], None]) -> None:
        """Waits until another origin has been given a blob; one that was not has to fetch it itself."""
        patience = Patience(_REPLICATION_S)
        try:
            while not self._has(name, blob):
                patience.pause(f"the copy of {blob.digest} at {name}", alive)
        except EngineUnavailableError:
            self._fetch(name, blob, alive, self._timeout_s)


class _Part(HttpPart):
    """An origin of the ring, for one request or a few."""

    def __init__(self, scheme: str, name: str) -> None:
        super().__init__("the Kraken origin", f"{scheme}://{name}")

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
