"""Asks the P2P engine for what the gateway sees is wrong: a blob that is missing at its seed peer, or spoilt.

The service looks after what it has seeded every now and then; the gateway notices at once. Whatever is asked
here is only a hint: it happens in one thread, at most once in a while for a blob, and is dropped when there
is too much of it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineError
from p2p_seed.supernode import SeedEngine

ONCE_IN_S: Final = 60.0
_MOST_WAITING: Final = 256
_REMEMBERED: Final = 65_536
# An engine wants a descriptor; what the content is plays no part.
_ANY_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _Wish:
    digest: Digest
    size_bytes: int
    spoilt: bool


class EngineWishes:
    """Wishes that an engine fulfils.

    Args:
        make_engine: makes the engine; called in the thread, when the first wish comes.
        now_s: a clock that only goes forward.
    """

    def __init__(
        self, make_engine: Callable[[], SeedEngine], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._make_engine = make_engine
        self._now_s = now_s
        self._waiting: queue.Queue[_Wish | None] = queue.Queue(_MOST_WAITING)
        self._not_before: OrderedDict[tuple[Digest, bool], float] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("gateway")

    def seed(self, digest: Digest, size_bytes: int) -> None:
        """See `Wishes.seed`."""
        self._add(_Wish(digest, size_bytes, spoilt=False))

    def forget(self, digest: Digest, size_bytes: int) -> None:
        """See `Wishes.forget`. Afterwards the blob is seeded anew, and proven."""
        self._add(_Wish(digest, size_bytes, spoilt=True))

    def close(self) -> None:
        """Takes no more wishes, without waiting for the one that is being fulfilled."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _add(self, wish: _Wish) -> None:
        key, now = (wish.digest, wish.spoilt), self._now_s()
        if self._not_before.get(key, 0.0) > now:
            return
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(wish)
            self._not_before[key] = now + ONCE_IN_S
            self._not_before.move_to_end(key)
            if len(self._not_before) > _REMEMBERED:
                self._not_before.popitem(last=False)
        if self._thread is None:
            # It must not keep the process from ending: a wish that is lost is noticed again.
            self._thread = threading.Thread(target=self._run, name="wishes", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        engine: SeedEngine | None = None
        while (wish := self._waiting.get()) is not None:
            try:
                engine = engine or self._make_engine()
                self._fulfil(engine, wish)
            except EngineError as error:
                self._log.warning("the P2P engine cannot help", digest=str(wish.digest), error=str(error))
            except Exception:
                # A mistake of ours must not end the thread.
                self._log.exception("asking the P2P engine failed", digest=str(wish.digest))
        if engine is not None:
            engine.close()

    def _fulfil(self, engine: SeedEngine, wish: _Wish) -> None:
        if wish.spoilt:
            if not engine.capabilities.deletion:
                self._log.error("wrong bytes stay at the peers: the engine cannot delete", engine=engine.name)
                return
            engine.forget(wish.digest)
        if wish.size_bytes:
            blob = Descriptor(_ANY_TYPE, wish.digest, wish.size_bytes)
            outcome = engine.seed(blob)
            self._log.info(
                "seeded again", digest=str(wish.digest), seeded=outcome.seeded, reason=outcome.reason
            )


class NoWishes:
    """Nobody is there to hear: without an engine the service alone looks after the peers."""

    def seed(self, digest: Digest, size_bytes: int) -> None:
        """See `Wishes.seed`."""

    def forget(self, digest: Digest, size_bytes: int) -> None:
        """See `Wishes.forget`."""

    def close(self) -> None:
        """Nothing to close."""
