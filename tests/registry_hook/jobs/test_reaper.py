"""The reaper's thread, without a database."""

from __future__ import annotations

from threading import Semaphore
from typing import Any, cast

import pytest
import sqlalchemy as sa

from registry_hook.jobs import reaper
from registry_hook.jobs.reaper import Reaper


class Held:
    """A connection that knows of one other worker, whose lock is free."""

    def execute(self, statement: sa.TextClause, *_: object) -> Any:
        if "DISTINCT" in str(statement):
            return [("worker-dead",)]
        return sa.IteratorResult(sa.engine.result.SimpleResultMetaData(["x"]), iter([(True,)]))


def test_a_take_over_that_fails_does_not_end_the_proof_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_INTERVAL_S", 0.001)
    tried = Semaphore(0)

    def recover(executor_ids: list[str]) -> int:
        assert executor_ids == ["worker-dead"]
        tried.release()
        raise RuntimeError("a fault of the engine")

    watching = Reaper(cast("sa.Engine", None), "worker-here", recover)
    watching.start(cast("sa.Connection", Held()))
    assert all(tried.acquire(timeout=5) for _ in range(3))
    watching.stop()
