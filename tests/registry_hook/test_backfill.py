"""`dragonhook backfill` tells what becomes of the sweep that it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_hook import logs
from registry_hook.cli import main, service
from registry_hook.jobs.dbos_client import DbosJobs
from registry_hook.jobs.model import JobState
from tests.registry_hook.jobs.test_dbos import worker


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # It would take the log of this process away from the tests that come later.
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    path = tmp_path / "dragonhook.toml"
    path.write_text(f'state_dir = "{tmp_path}/state"\n[registry]\nurl = "http://127.0.0.1:5000"\n')
    return path


def backfill(config: Path) -> Result:
    result = CliRunner().invoke(main, ["backfill", "--config", str(config)])
    assert result.exit_code == 0, result.output
    return result


def test_without_a_service_it_says_that_the_sweep_waits_and_what_runs_it(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_TAKEN_WITHIN_S", 0.3)
    result = backfill(config)
    assert result.stderr.count("\n") == 1
    assert "`dragonhook serve` or `dragonhook worker`" in result.stderr
    job_id = result.stdout.strip()
    jobs = DbosJobs(f"sqlite:///{tmp_path}/state/jobs.sqlite")
    assert jobs.get([job_id])[job_id].state is JobState.QUEUED
    jobs.close()


def test_with_one_it_says_that_the_sweep_has_begun(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    with worker(f"sqlite:///{tmp_path}/state/jobs.sqlite", sweep=lambda _run, _arguments: {}):
        result = backfill(config)
    assert result.stdout.startswith("sweep-backfill-")
    assert "a worker has taken it" in result.stderr
