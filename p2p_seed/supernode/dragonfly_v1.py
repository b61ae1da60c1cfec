"""The engine for Dragonfly's first generation: a SuperNode is asked to preheat (`POST /preheats`).

Written against version 1.0.6 and run against it. What one has to know of it:

- A SuperNode names a task by its URL, less the query parameters that a client filters. So only clients that
  ask for the URL of our origin find what was seeded: host and path count (`generateTaskID` in
  `supernode/daemon/mgr/task/manager_util.go`).
- A Range is a task of its own, fetched from the origin again and answered with 200. So it is good for pulls
  of whole blobs, and not for lazy ones.
- A task that nobody asks for is dropped after `taskExpireTime`, by default 3 minutes. The record of the
  preheat still says SUCCESS then, and a new preheat of the URL is refused (208) as long as there is that
  record. So the state of the task is what counts here, and an old record is deleted before each preheat.
- Each preheat leaves a copy of the blob in `<homeDir>/repo/preheat`, which nothing removes.
- A URL that failed is not tried again for `failAccessInterval`, by default 3 minutes.
- There is neither authentication nor encryption, and no check of a SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineUnavailableError
from p2p_seed.origin import OriginUrls
from p2p_seed.supernode.engine import Capabilities, EngineHealth, OnProgress, SeedOutcome, unheard
from p2p_seed.supernode.http_part import HttpPart
from p2p_seed.supernode.patience import Patience

FILTER: Final = "Expires&Signature"
"""The query parameters that do not count for a task. Every dfdaemon needs them in its `dfget_flags`."""

# Before and after the URL, where the SuperNode hashes it to a task's id: `key` in
# supernode/daemon/mgr/task/manager.go.
_KEY: Final = ">I$pg-~AS~sP'rqu_`Oh&lz#9]\"=;nE%"
_FAILED_TASK: Final = frozenset({"FAILED", "SOURCE_ERROR"})
# What a dfdaemon adds to an answer that its dfget brought, and not to one that it fetched itself after its
# dfget failed (`download` in dfdaemon/transport/transport.go).
_BY_DFGET: Final = "Content-Disposition"


@dataclass(frozen=True, slots=True)
class _Task:
    """What the SuperNode has of a blob."""

    state: str
    size: int

    @property
    def complete(self) -> bool:
        return self.state == "SUCCESS"


class DragonflyV1Engine:
    """Has a SuperNode preheat each blob, and reads it back through a dfdaemon.

    Args:
        supernode: base URL of its API.
        proxy: base URL of a dfdaemon of that SuperNode, with `FILTER` in its `dfget_flags`. With `--notbs`
            there, which forbids its dfget to fetch from the origin, the proof is one of the way as well.
        origin: where the SuperNode fetches from.
        timeout_s: for one blob.
    """

    def __init__(self, supernode: str, proxy: str, origin: OriginUrls, timeout_s: float = 1800.0) -> None:
        self._origin = origin
        self._timeout_s = timeout_s
        self._supernode = HttpPart("the SuperNode", supernode)
        # A dfdaemon answers when its dfget has all of a blob.
        self._reader = HttpPart("the dfdaemon", origin.base_url, proxy=proxy, stall_s=timeout_s)
        self._dfdaemon = HttpPart("the dfdaemon", proxy)

    @property
    def name(self) -> str:
        """`dragonfly-v1`, as in the settings."""
        return "dragonfly-v1"

    @property
    def capabilities(self) -> Capabilities:
        """No ranges, and only for clients that ask for the origin's URLs."""
        return Capabilities(ranges=False, one_task_per_blob=False, presence=True, deletion=True)

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        """See `SeedEngine.seed`. The SuperNode does not say how far it is, so progress is all or nothing."""
        if not blob.size:
            return SeedOutcome(
                blob.digest, seeded=True, reason="empty: there is nothing to bring", origin_bytes=0
            )

        def alive() -> None:
            on_progress(0)

        task = self._task(blob.digest)
        if task is not None and task.state in _FAILED_TASK:
            self.forget(
                blob.digest
            )  # Else the state of the last attempt would be taken for that of this one.
        if task is None or not task.complete:
            task = self._preheat(blob.digest, alive)
        if task.size != blob.size:
            self.forget(blob.digest)
            reason = (
                f"not seeded: the SuperNode got {task.size} bytes for {blob.size}, and was told to drop them"
            )
            return SeedOutcome(blob.digest, seeded=False, reason=reason)
        outcome = self._prove(blob, alive)
        if outcome.seeded:
            on_progress(blob.size)
        return outcome

    def holds(self, blob: Descriptor) -> bool:
        """See `SeedEngine.holds`. Asking does not make the SuperNode keep it any longer."""
        if not blob.size:
            return True
        task = self._task(blob.digest)
        return task is not None and task.complete and task.size == blob.size

    def forget(self, digest: Digest) -> None:
        """See `SeedEngine.forget`. Peers' copies stay for minutes, but the SuperNode sends nobody there."""
        task_id = self.task_id(digest)
        self._supernode.ask("DELETE", f"/preheats/{task_id}")
        self._supernode.ask("DELETE", f"/api/v1/tasks/{task_id}", params={"full": "true"})

    def health(self) -> EngineHealth:
        """See `SeedEngine.health`."""
        wrong = self._supernode.answers("/_ping") or self._dfdaemon.answers("/args")
        return EngineHealth(wrong is None, wrong or "SuperNode and dfdaemon answer")

    def close(self) -> None:
        """See `SeedEngine.close`."""
        for part in (self._supernode, self._reader, self._dfdaemon):
            part.close()

    def task_id(self, digest: Digest) -> str:
        """What the SuperNode calls a blob, and its preheat."""
        url = self._origin.url(digest).partition("?")[0]
        return hashlib.sha256(f"{_KEY}{url}{_KEY}".encode()).hexdigest()

    def _task(self, digest: Digest) -> _Task | None:
        """The SuperNode's task of a blob, or None. It answers 500 for one that it does not know."""
        path = f"/api/v1/tasks/{self.task_id(digest)}"
        answer = self._supernode.ask("GET", path, expected=(200, 404, 500))
        if answer.status != 200:
            if answer.status == 404 or "data not found" in answer.text:
                return None
            raise EngineUnavailableError(f"{self._supernode.where} answered 500: {answer.text[:300]}")
        state, size = answer.member("cdnStatus"), answer.member("httpFileLength")
        return _Task(str(state), size if isinstance(size, int) else 0)

    def _preheat(self, digest: Digest, alive: Callable[[], None]) -> _Task:
        """Asks for a preheat and waits for the task, not for its record, which follows up to 12 s later."""
        record = f"/preheats/{self.task_id(digest)}"
        order = {"type": "file", "url": self._origin.url(digest), "filter": FILTER}
        self._supernode.ask("DELETE", record)
        self._supernode.ask("POST", "/preheats", expected=(201, 208), body=order)
        patience = Patience(self._timeout_s)
        while True:
            task = self._task(digest)
            if task is not None and task.complete:
                return task
            if task is not None and task.state in _FAILED_TASK:
                raise EngineUnavailableError(f"the SuperNode could not fetch {digest} ({task.state})")
            answer = self._supernode.ask("GET", record, expected=(200, 404))
            if answer.member("status") == "FAILED":
                said = answer.member("errorMsg") or "it does not say why; see its log"
                raise EngineUnavailableError(f"the preheat of {digest} failed: {said}")
            patience.pause(f"the preheat of {digest}", alive)

    def _prove(self, blob: Descriptor, alive: Callable[[], None]) -> SeedOutcome:
        found = self._reader.read(self._origin.url(blob.digest), blob.size, alive)
        where = self._reader.where
        if found.digest != blob.digest:
            self.forget(blob.digest)
            reason = f"not seeded: {where} gave bytes of {found.digest}; the SuperNode was told to drop them"
            return SeedOutcome(blob.digest, seeded=False, reason=reason)
        if _BY_DFGET not in found.headers:
            reason = f"not seeded: {where} fetched it past the SuperNode; does its rule take blobs/sha256?"
            return SeedOutcome(blob.digest, seeded=False, reason=reason)
        if not self.holds(blob):
            return SeedOutcome(blob.digest, seeded=False, reason="not seeded: the SuperNode dropped it again")
        return SeedOutcome(
            blob.digest, seeded=True, reason=f"read back through {where}: the SHA-256 is right"
        )
