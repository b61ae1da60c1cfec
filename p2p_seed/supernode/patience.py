"""Waiting for what an engine does behind our back: short pauses, then longer ones, and an end at last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from p2p_seed.errors import EngineUnavailableError

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_GROWTH: Final = 1.5


class Patience:
    """How long something may take.

    Args:
        timeout_s: for all of it.
        now_s: a clock that never goes back.
        sleep: pauses for so many seconds.
    """

    def __init__(
        self,
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._sleep = sleep
        self._end_s = now_s() + timeout_s
        self._pause_s = _FIRST_PAUSE_S

    def pause(self, what: str, alive: Callable[[], None]) -> None:
        """Waits for a moment, each time a longer one.

        Args:
            what: is waited for, for the message.
            alive: called before; what it raises ends the waiting.

        Raises:
            EngineUnavailableError: it took too long.
        """
        if self._now_s() >= self._end_s:
            raise EngineUnavailableError(f"{what} is not done after {self._timeout_s:g} s")
        alive()
        self._sleep(self._pause_s)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * _GROWTH)
