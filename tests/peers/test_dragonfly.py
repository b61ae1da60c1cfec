"""The small set of Dragonfly, as other tests start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.dragonfly import Scheduler


@pytest.mark.peers
def test_a_scheduler_starts_and_comes_back(tmp_path: Path) -> None:
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.is_ready()
        scheduler.kill()
        assert not scheduler.is_ready()
        scheduler.start()
        assert scheduler.is_ready()
