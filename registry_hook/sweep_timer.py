"""Asks for sweeps: at the start, at intervals, and when the registry is back after it was away."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Final

import structlog

from registry_hook.errors import UnavailableError
from registry_hook.jobs.model import JobQuery, Jobs, JobState
from registry_hook.requests import SWEEP, SweepRequest

_PROBE_S: Final = 5.0
_log = structlog.get_logger(__name__)


class SweepTimer:
    """A thread of a worker process.

    Args:
        jobs: where sweeps are asked for.
        interval_s: seconds between two sweeps.
        registry_answers: whether the registry is up.
        now_s: seconds since the epoch.
        probe_s: seconds between two looks at the registry.
    """

    def __init__(
        self,
        jobs: Jobs,
        interval_s: float,
        registry_answers: Callable[[], bool],
        now_s: Callable[[], float],
        probe_s: float = _PROBE_S,
    ) -> None:
        self._jobs = jobs
        self._interval_s = interval_s
        self._registry_answers = registry_answers
        self._now_s = now_s
        self._probe_s = probe_s
        self._stop = threading.Event()
        self._up = True
        self._turn = self._number()

    def start(self) -> None:
        """Asks for the first sweep and keeps on asking."""
        self._ask("a worker started", f"start-{secrets.token_hex(8)}")
        threading.Thread(target=self._loop, name="sweep-timer", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread at its next turn."""
        self._stop.set()

    def turn(self) -> None:
        """Looks once at the clock and at the registry."""
        number = self._number()
        if number != self._turn:
            self._turn = number
            # The name is that of the interval, so that the timers of many workers ask for one sweep.
            self._ask("the interval is over", f"interval-{number}")
        up = self._registry_answers()
        if up and not self._up:
            # It may have lost its queue of notifications, whether it restarted or only the network broke.
            self._ask("the registry is back", f"back-{secrets.token_hex(8)}")
        self._up = up

    def _loop(self) -> None:
        while not self._stop.wait(self._probe_s):
            try:
                self.turn()
            except Exception:
                # Without this thread the worker would go on, and nothing would be swept any more.
                _log.exception("unexpected error while looking at clock and registry")

    def _number(self) -> int:
        return int(self._now_s() // self._interval_s)

    def _ask(self, reason: str, name: str) -> None:
        waiting = JobQuery(kinds=(SWEEP,), states=(JobState.QUEUED,), limit=1)
        try:
            # One that has not begun will see everything that this one would.
            if not self._jobs.list_jobs(waiting):
                self._jobs.enqueue(SweepRequest(reason).job(name))
        except UnavailableError as error:
            _log.warning("could not ask for a sweep", reason=reason, error=str(error))
