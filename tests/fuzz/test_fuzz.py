"""The fixed share of fuzzing that every change has to pass, and proof that the fuzzer sees what it is for."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.errors import BootstrapError, DictionaryError, UnsupportedImageError
from tests.fuzz.campaign import run_campaign
from tests.fuzz.cases import BORROWED, CORPUS, FOUND, SHARES, Case, corpus, make_case
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.worker import MEMORY_LIMIT, Findings

SEED = 4  # any but that of `make fuzz`, so that the two do not do the same
CASES = 2500

FOUND_INPUTS = sorted(FOUND.glob("*/*"))


def test_spoilt_inputs_give_our_errors_or_correct_results() -> None:
    outcome = run_campaign(SEED, range(CASES), workers=2)
    assert outcome.findings == []
    assert sum(outcome.counts.values()) == CASES
    for target in SHARES:  # a fuzzer whose inputs are all refused at the door proves nothing
        assert outcome.counts[f"{target} accepted"] > 0
        assert outcome.counts[f"{target} refused"] > 0


@pytest.mark.parametrize("target", TARGETS)
def test_sound_inputs_are_accepted(target: str, tmp_path: Path) -> None:
    refused = []
    for name, data in corpus(target):
        try:
            TARGETS[target].run(data, tmp_path)
        except (UnsupportedImageError, DictionaryError):
            pass  # not every layer can stay as it is, and not every form of image can lend chunks
        except TARGETS[target].refusals:
            refused.append(name)
        for path in tmp_path.iterdir():
            path.unlink()
    found = {path.name for path in FOUND_INPUTS if path.parent.name == target}
    assert set(refused) <= found


def test_what_once_went_wrong_does_not_again(tmp_path: Path) -> None:
    findings = Reports()
    for path in FOUND_INPUTS:
        findings.run(0, Case(path.parent.name, path.name, path.read_bytes()), tmp_path)
    assert findings.problems == []


def test_every_target_has_inputs_and_a_share() -> None:
    assert TARGETS.keys() == SHARES.keys()
    assert {BORROWED.get(target, target) for target in TARGETS} == {path.name for path in CORPUS.iterdir()}
    assert sum(SHARES.values()) == 100


def test_a_number_is_a_reproduction() -> None:
    script = (
        "import hashlib, tests.fuzz.cases as c\n"
        "print(hashlib.sha256(b''.join(c.make_case(9, n).data for n in range(300))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = hashlib.sha256(b"".join(make_case(9, number).data for number in range(300)))
    assert other.stdout.strip() == here.hexdigest()


class Reports(Findings):
    """Findings that are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def report(self, number: int, case: Case, problem: str) -> None:
        self.problems.append(problem)


def problems_of(run: Callable[[bytes, Path], None], work: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(TARGETS, "text", Target(run, (BootstrapError,)))
    findings = Reports()
    findings.run(0, Case("text", "test", b""), work)
    return findings.problems


def test_a_foreign_exception_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, work: Path) -> None:
        raise IndexError("list index out of range")

    [problem] = problems_of(run, tmp_path, monkeypatch)
    assert "IndexError" in problem


def test_a_refusal_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, work: Path) -> None:
        raise BootstrapError("no")

    assert problems_of(run, tmp_path, monkeypatch) == []


def test_too_much_memory_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, work: Path) -> None:
        len(b"x" * (MEMORY_LIMIT + (1 << 20)))

    [problem] = problems_of(run, tmp_path, monkeypatch)
    assert "of memory" in problem


def test_a_thread_that_stays_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def run(data: bytes, work: Path) -> None:
        threading.Thread(target=stop.wait).start()

    try:
        [problem] = problems_of(run, tmp_path, monkeypatch)
    finally:
        stop.set()
    assert "leaves threads" in problem


_WORKER = """
import argparse, json, mmap, os, time
from pathlib import Path
from tests.fuzz.heartbeat import HEARTBEAT
parser = argparse.ArgumentParser()
for name in ("seed", "first", "stop", "step"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--heartbeat", type=Path)
arguments = parser.parse_args()
shared = os.open(arguments.heartbeat, os.O_WRONLY)
counts = {}
for number in range(arguments.first, arguments.stop, arguments.step):
    os.pwrite(shared, HEARTBEAT.pack(number, time.monotonic()), 0)
    if number == 3:
        WHAT
    counts["text accepted"] = counts.get("text accepted", 0) + 1
print(json.dumps({"counts": counts, "peak_bytes": 0, "longest_s": 0}))
"""


@pytest.mark.parametrize(("what", "problem"), [("time.sleep(60)", "hangs"), ("os.abort()", "status -6")])
def test_a_case_that_takes_the_worker_down_is_a_finding(what: str, problem: str) -> None:
    worker = [sys.executable, "-c", _WORKER.replace("WHAT", what)]
    started_s = time.monotonic()
    outcome = run_campaign(1, range(8), workers=2, worker=worker, hang_s=5)
    assert [(finding.number, problem in finding.problem) for finding in outcome.findings] == [(3, True)]
    assert outcome.counts["text accepted"] == 6  # 0, 2, 4, 6 and 5, 7; the count of 1 died with its worker
    assert time.monotonic() - started_s < 50


def test_the_command_runs_one_case_again() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "1", "--only", "5"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"for {make_case(1, 5).target}" in shown
    assert ("accepted" in shown) != ("refused" in shown)
