"""Locks and worker identities: exclusive while held, and free when their holder is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from registry_hook.errors import SettingsError
from registry_hook.jobs.executor import claim_slot
from registry_hook.jobs.locks import FileLocks

ROOT = Path(__file__).parents[3]


def held_by_another_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    code += "\nprint('held', flush=True)\nimport time\ntime.sleep(60)\n"
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    locks, inside, most = FileLocks(tmp_path), 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(10):
            with locks.hold("demo/app", "v1"):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_other_tags_are_free(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)
    with locks.hold("demo/app", "v1"):
        done = threading.Event()

        def hold_another() -> None:
            with locks.hold("demo/app", "v2"):
                done.set()

        thread = threading.Thread(target=hold_another)
        thread.start()
        assert done.wait(5)
        thread.join()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from registry_hook.jobs.locks import FileLocks\n"
        "held = FileLocks(Path(sys.argv[1])).hold('demo/app', 'v1'); held.__enter__()"
    )
    holder = held_by_another_process(code, str(tmp_path))
    got = threading.Event()

    def wait() -> None:
        with FileLocks(tmp_path).hold("demo/app", "v1"):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.3)
    holder.kill()
    holder.wait()
    assert got.wait(5)
    thread.join()


def test_an_identity_is_unique_while_its_worker_lives_and_the_same_afterwards(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from registry_hook.jobs.executor import claim_slot\n"
        "slot = claim_slot(Path(sys.argv[1]), only_one=False)"
    )
    worker = held_by_another_process(code, str(tmp_path))
    first = (tmp_path / "worker-0").read_text()
    assert claim_slot(tmp_path, only_one=False).executor_id != first
    worker.kill()
    worker.wait()
    assert claim_slot(tmp_path, only_one=False).executor_id == first


def test_with_sqlite_a_second_worker_is_refused_with_the_way_out(tmp_path: Path) -> None:
    kept = claim_slot(tmp_path, only_one=True)
    with pytest.raises(SettingsError, match=r"another worker .*set jobs\.database to a postgresql:// URL"):
        claim_slot(tmp_path, only_one=True)
    assert kept.executor_id.startswith("worker-")


def test_a_half_written_identity_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "worker-0").write_text("bad id\x00")
    assert claim_slot(tmp_path, only_one=True).executor_id.startswith("worker-")


def test_an_identity_from_the_settings_is_used_as_it_is(tmp_path: Path) -> None:
    slot = claim_slot(tmp_path, only_one=False, executor_id="node-7")
    assert slot.executor_id == "node-7"
    with pytest.raises(SettingsError):
        claim_slot(tmp_path, only_one=False, executor_id="node-7")
