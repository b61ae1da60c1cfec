"""Nobody else may enter the state directory, whoever makes it first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from registry_hook import logs
from registry_hook.cli import main
from registry_hook.errors import SettingsError
from registry_hook.jobs.database import prepare
from registry_hook.jobs.executor import claim_slot
from registry_hook.jobs.locks import FileLocks
from registry_hook.set_aside import SetAsideBodies
from registry_hook.settings import Settings, load
from registry_hook.state import open_state_directory
from registry_hook.wiring.blob_store import blob_store
from registry_hook.wiring.secrets import signing_key, webhook_token
from tests.registry_hook.world import World, small_image


@pytest.fixture(autouse=True)
def _widest_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # It would take the log of this process away from the tests that come later.
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    before = os.umask(0)
    yield
    os.umask(before)


def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "dragonhook.toml"
    path.write_text(f'state_dir = "{tmp_path}/state"\n[registry]\nurl = "http://127.0.0.1:5000"\n')
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


MAKERS: dict[str, Callable[[Settings], object]] = {
    "key": signing_key,
    "token": webhook_token,
    "store": blob_store,
    "jobs": lambda settings: prepare(settings.database_url),
    "worker": lambda settings: claim_slot(settings.state_dir / "workers", only_one=True),
    "locks": lambda settings: FileLocks(settings.state_dir / "locks"),
    "set-aside": lambda settings: SetAsideBodies(settings.state_dir / "set-aside").keep(b"x"),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_what_each_part_makes_is_private(tmp_path: Path, maker: str) -> None:
    settings = load(settings_file(tmp_path))
    open_state_directory(settings.state_dir)
    MAKERS[maker](settings)
    made = [settings.state_dir, *(path for path in settings.state_dir.iterdir() if path.is_dir())]
    assert {path.name: oct(mode(path)) for path in made} == {path.name: "0o700" for path in made}


def test_the_job_database_is_private_wherever_it_lies(tmp_path: Path) -> None:
    prepare(f"sqlite:///{tmp_path}/elsewhere/jobs.sqlite")
    assert mode(tmp_path / "elsewhere") == 0o700
    for path in (tmp_path / "elsewhere").iterdir():
        assert mode(path) == 0o600, path.name


def test_the_spool_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    world = World(tmp_path)
    put = world.services.store.put

    def looking(*arguments: object) -> bool:
        seen.extend(mode(path) for path in (tmp_path / "spool", *(tmp_path / "spool").iterdir()))
        return put(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(world.services.store, "put", looking)
    world.event("v1", world.push("v1", small_image()))
    assert set(seen) == {0o700}


def test_a_command_makes_the_state_directory_private(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["backfill", "--config", str(settings_file(tmp_path))])
    assert result.exit_code == 0, result.output
    assert mode(tmp_path / "state") == 0o700


def test_a_directory_that_is_open_to_others_is_told_and_left(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o750)
    with capture_logs() as entries:
        open_state_directory(directory)
    assert [(entry["log_level"], entry["mode"]) for entry in entries] == [("warning", "0750")]
    assert mode(directory) == 0o750


def test_a_private_directory_is_not_worth_a_word(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    with capture_logs() as entries:
        open_state_directory(directory)
        open_state_directory(directory)
    assert entries == []


def test_a_directory_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"state_dir: .*file"):
        open_state_directory(tmp_path / "file" / "state")
