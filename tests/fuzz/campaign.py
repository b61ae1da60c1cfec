"""Runs a number of cases in workers, watches them, and sums up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fuzz.cases import make_case
from tests.fuzz.heartbeat import HEARTBEAT

HANG_S: Final = 60.0  # one case may take so long by the clock, on a machine that does other things, too
_POLL_S: Final = 0.25
WORKER: Final = (sys.executable, "-m", "tests.fuzz.worker")


@dataclass(frozen=True)
class Finding:
    """A case that went wrong.

    Args:
        number: of the case.
        target: its target.
        origin: the file of the corpus it was made from.
        problem: a traceback, or a sentence.
    """

    number: int
    target: str
    origin: str
    problem: str


@dataclass
class Outcome:
    """What came of a number of cases."""

    cases: int = 0
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    peak_bytes: int = 0
    longest_s: float = 0

    def add_line(self, line: dict[str, Any]) -> None:
        """Takes up what a worker wrote."""
        if "case" in line:
            self.findings.append(Finding(line["case"], line["target"], line["origin"], line["problem"]))
            return
        self.counts.update(line["counts"])
        self.peak_bytes = max(self.peak_bytes, line["peak_bytes"])
        self.longest_s = max(self.longest_s, line["longest_s"])


def run_campaign(
    seed: int,
    cases: range,
    workers: int,
    tell: Callable[[str], None] = lambda text: None,
    worker: Sequence[str] = WORKER,
    hang_s: float = HANG_S,
) -> Outcome:
    """Runs cases to their end, however many of them take a worker down.

    Args:
        seed: of all cases.
        cases: their numbers.
        workers: processes at a time.
        tell: told how far it is, about once a minute, and of each finding.
        worker: command of a worker.
        hang_s: longest time that one case may take.
    """
    outcome = Outcome(cases=len(cases))
    lock = threading.Lock()
    started_s = time.monotonic()
    lanes = [
        _Lane(seed, cases[lane::workers], outcome, lock, tell, worker, hang_s) for lane in range(workers)
    ]
    for lane in lanes:
        lane.start()
    told_s = started_s
    while any(lane.is_alive() for lane in lanes):
        time.sleep(_POLL_S)
        if time.monotonic() - told_s > 60:
            told_s = time.monotonic()
            done = sum(lane.done for lane in lanes)
            found = len(outcome.findings)
            tell(f"{done} of {len(cases)} cases in {told_s - started_s:.0f} s, {found} findings")
    for lane in lanes:
        lane.join()
        if lane.error is not None:
            raise lane.error
    outcome.seconds = time.monotonic() - started_s
    outcome.findings.sort(key=lambda finding: finding.number)
    return outcome


class _Lane(threading.Thread):
    """Every so many'th case, by one worker after the other: mostly one is enough."""

    def __init__(
        self,
        seed: int,
        numbers: range,
        outcome: Outcome,
        lock: threading.Lock,
        tell: Callable[[str], None],
        worker: Sequence[str],
        hang_s: float,
    ) -> None:
        super().__init__()
        self._seed = seed
        self._numbers = numbers
        self._outcome = outcome
        self._lock = lock
        self._tell = tell
        self._worker = worker
        self._hang_s = hang_s
        self.done = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Starts workers until all cases are through."""
        try:
            left = self._numbers
            while left:
                left = self._run_worker(left)
        except BaseException as error:
            self.error = error

    def _run_worker(self, numbers: range) -> range:
        """Runs a worker to its end; returns the cases that it left."""
        with tempfile.NamedTemporaryFile() as beat, tempfile.TemporaryFile() as errors:
            beat.write(HEARTBEAT.pack(numbers.start, time.monotonic()))
            beat.flush()
            limits = ("--first", numbers.start, "--stop", numbers.stop, "--step", numbers.step)
            command = [*self._worker, "--seed", self._seed, *limits, "--heartbeat", beat.name]
            process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors)
            reader = threading.Thread(target=self._read, args=(process,))
            reader.start()
            hung = self._watch(process, Path(beat.name), numbers)
            reader.join()
            current, _ = HEARTBEAT.unpack(Path(beat.name).read_bytes())
            if process.wait() == 0:
                return range(0)
            errors.seek(0)
            how = "hangs" if hung else f"ends the worker with status {process.returncode}"
            self._report(current, f"{how}\n{errors.read()[-6000:].decode(errors='replace')}")
            return range(current + numbers.step, numbers.stop, numbers.step)

    def _watch(self, process: subprocess.Popen[bytes], beat: Path, numbers: range) -> bool:
        """Waits for the end of a worker; ends it if a case takes too long."""
        while process.poll() is None:
            time.sleep(_POLL_S)
            current, since_s = HEARTBEAT.unpack(beat.read_bytes())
            self.done = (current - self._numbers.start) // self._numbers.step
            if time.monotonic() - since_s > self._hang_s:
                process.send_signal(signal.SIGABRT)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                return True
        return False

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with self._lock:
                    self._outcome.add_line(json.loads(line))
                    if "case" in json.loads(line):
                        self._tell(f"finding: {line.decode().strip()[:3000]}")

    def _report(self, number: int, problem: str) -> None:
        case = make_case(self._seed, number)
        with self._lock:
            self._outcome.findings.append(Finding(number, case.target, case.origin, problem))
            self._tell(f"finding: case {number} ({case.target}, {case.origin}) {problem}")
