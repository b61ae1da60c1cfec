"""The supervisor with real processes: restarts, an orderly stop, and nothing left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from registry_hook.errors import SettingsError
from registry_hook.supervisor import Program, Supervisor

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def python(name: str, code: str) -> Program:
    return Program(name, (sys.executable, "-c", code))


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_child_that_dies_is_started_again_later_and_later() -> None:
    clock = Clock()
    supervisor = Supervisor([python("brief", "pass")], 1.0, clock)
    starts: list[float] = []
    while len(starts) < 9:
        supervisor.turn()
        pids = supervisor.pids()
        if pids:
            starts.append(clock.now_s)
            wait_until(lambda pids=pids: not is_alive(pids["brief"]))  # type: ignore[misc]
        clock.now_s += 0.05
    gaps = [round(later - earlier, 1) for earlier, later in pairwise(starts)]
    assert gaps[:3] == sorted(gaps[:3])
    assert gaps[0] >= 0.2
    assert 10 <= gaps[-1] < 10.5, "the delay is bounded"
    supervisor.stop()


def test_a_child_that_was_well_is_started_again_at_once() -> None:
    clock = Clock()
    supervisor = Supervisor([python("long", "import time; time.sleep(60)")], 1.0, clock)
    delays: list[float] = []
    for _ in range(4):
        supervisor.turn()
        pid = supervisor.pids()["long"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        clock.now_s += 31
        begun_s = clock.now_s
        while supervisor.pids().get("long") in (None, pid):
            supervisor.turn()
            clock.now_s += 0.05
        delays.append(clock.now_s - begun_s)
    supervisor.stop()
    assert max(delays) < 0.5


def test_one_child_dying_leaves_the_others_alone() -> None:
    sleep = "import time; time.sleep(60)"
    supervisor = Supervisor([python("web", sleep), python("worker", sleep)], 1.0)
    supervisor.turn()
    before = supervisor.pids()
    os.kill(before["worker"], signal.SIGKILL)

    def worker_is_new() -> bool:
        supervisor.turn()
        return supervisor.pids().get("worker") not in (None, before["worker"])

    wait_until(worker_is_new)
    assert supervisor.pids()["web"] == before["web"]
    supervisor.stop()
    assert supervisor.pids() == {}


def test_stopping_lets_children_finish_and_kills_those_that_do_not(tmp_path: Path) -> None:
    polite = (
        "import signal, sys, time, pathlib\n"
        f"path = pathlib.Path({str(tmp_path / 'done')!r})\n"
        "def stop(*_):\n"
        "    time.sleep(0.3); path.write_text('finished'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    deaf = (
        "import signal, time, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'deaf')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    supervisor = Supervisor([python("polite", polite), python("deaf", deaf)], 2.0)
    supervisor.turn()
    pids = supervisor.pids()
    wait_until(lambda: (tmp_path / "up").exists() and (tmp_path / "deaf").exists())
    begun_s = time.monotonic()
    supervisor.stop()
    assert (tmp_path / "done").read_text() == "finished"
    assert time.monotonic() - begun_s < 4
    assert not any(is_alive(pid) for pid in pids.values())


CHILD = (
    "import sys, time, pathlib, os\n"
    "from registry_hook.supervisor import die_with_parent\n"
    "die_with_parent(int(sys.argv[2]))\n"
    "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
    "time.sleep(60)\n"
)
PARENT = (
    "import os, sys\n"
    "from registry_hook.supervisor import Program, Supervisor\n"
    "child = (sys.executable, '-c', sys.argv[2], sys.argv[1], str(os.getpid()))\n"
    "Supervisor([Program('child', child)], 1.0).run()\n"
)


def test_nothing_is_left_over_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file), CHILD], cwd=ROOT)
    wait_until(lambda: file.exists() and file.read_text() != "")
    child = int(file.read_text())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child))


def test_a_child_whose_parent_died_before_it_could_ask_ends_itself(tmp_path: Path) -> None:
    orphan = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "pid"), "1"], cwd=ROOT, timeout=30, check=False
    )
    assert orphan.returncode == -signal.SIGKILL
    assert not (tmp_path / "pid").exists()


STOPPED = (
    "import sys\n"
    "from registry_hook.supervisor import Program, Supervisor\n"
    "child = (sys.executable, '-c', sys.argv[2], sys.argv[1])\n"
    "Supervisor([Program('child', child)], 60.0).run()\n"
)
NOTING = (
    "import pathlib, signal, sys, time\n"
    "path = pathlib.Path(sys.argv[1])\n"
    "def on_signal(number, _frame):\n"
    "    with path.open('a') as file: file.write(f'{signal.Signals(number).name}\\n')\n"
    "signal.signal(signal.SIGTERM, on_signal)\n"
    "signal.signal(signal.SIGINT, on_signal)\n"
    "path.write_text('up\\n')\n"
    "while True: time.sleep(0.05)\n"
)


def test_ctrl_c_reaches_a_child_as_one_signal_and_a_second_one_ends_it_at_once(tmp_path: Path) -> None:
    file = tmp_path / "signals"
    # A terminal sends SIGINT to the whole process group.
    parent = subprocess.Popen([sys.executable, "-c", STOPPED, str(file), NOTING], cwd=ROOT, process_group=0)
    wait_until(lambda: file.exists() and file.read_text() == "up\n")
    os.killpg(parent.pid, signal.SIGINT)
    wait_until(lambda: "SIGTERM" in file.read_text())
    time.sleep(0.3)
    assert file.read_text() == "up\nSIGTERM\n"
    assert parent.poll() is None, "it waits for its child"
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.wait(5) == 0


def test_a_child_that_refuses_its_settings_ends_everything(tmp_path: Path) -> None:
    started = tmp_path / "starts"
    refusing = f"import sys; open({str(started)!r}, 'a').write('x'); sys.exit(2)"
    supervisor = Supervisor([python("web", "import time; time.sleep(60)"), python("worker", refusing)], 5.0)
    supervisor.turn()
    web = supervisor.pids()["web"]
    with pytest.raises(SettingsError, match="worker cannot run with these settings"):
        supervisor.run()
    assert started.read_text() == "x", "it is not tried again"
    assert not is_alive(web)
