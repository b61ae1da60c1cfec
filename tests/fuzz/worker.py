"""The process that runs cases, under limits: one that dies or hangs takes nothing with it.

Started by `tests.fuzz.campaign`. It writes the number of each case into a shared file before it runs it, so
that whoever watches knows which one took it down, and a line of JSON for each finding and, at the end, for
the counts.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import mmap
import os
import re
import resource
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from converter import limits
from tests.fuzz.cases import Case, make_case
from tests.fuzz.heartbeat import HEARTBEAT
from tests.fuzz.targets import TARGETS

CPU_LIMIT_S: Final = 10.0  # of one case, in processor time: the machine may be busy
MEMORY_LIMIT: Final = 256 << 20  # that one case may add to the resident set, in bytes
ADDRESS_SPACE: Final = (
    2 << 30
)  # that all cases may add to the address space: what is asked for and not touched
_MEMORY: Final = Path("/dev/shm")  # blobs are written durably, which takes its time on a disk
_PEAK: Final = re.compile(rb"VmHWM:\s+(\d+) kB")
_RESIDENT: Final = re.compile(rb"VmRSS:\s+(\d+) kB")


class Findings:
    """What is not as it must be, and how often what is."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.peak_bytes = 0
        self.longest_s = 0.0

    def report(self, number: int, case: Case, problem: str) -> None:
        """Tells of a finding."""
        line = {"case": number, "target": case.target, "origin": case.origin, "problem": problem}
        print(json.dumps(line), flush=True)

    def run(self, number: int, case: Case, work: Path) -> None:
        """Runs a case and checks all that is asked of it."""
        target = TARGETS[case.target]
        before = _status(_RESIDENT)
        threads = threading.active_count()
        _forget_peak()
        start_s = time.process_time()
        problem = None
        try:
            target.run(case.data, work)
        except target.refusals:
            self.counts[f"{case.target} refused"] += 1
        except BaseException:
            problem = traceback.format_exc()[-6000:]
        else:
            self.counts[f"{case.target} accepted"] += 1
        spent_s = time.process_time() - start_s
        added = _status(_PEAK) - before
        self.longest_s = max(self.longest_s, spent_s)
        self.peak_bytes = max(self.peak_bytes, added)
        _clear(work)
        if problem is None and threading.active_count() > threads:
            problem = f"leaves threads: {[thread.name for thread in threading.enumerate()]}"
        if problem is None and spent_s > CPU_LIMIT_S:
            problem = f"took {spent_s:.1f} s of processor time"
        if problem is None and added > MEMORY_LIMIT:
            problem = f"took {added >> 20} MiB of memory"
        if problem is not None:
            self.report(number, case, problem)


def _clear(work: Path) -> None:
    for path in work.iterdir():
        path.unlink()


def _status(what: re.Pattern[bytes]) -> int:
    """A size from /proc/self/status, in bytes."""
    found = what.search(Path("/proc/self/status").read_bytes())
    return int(found[1]) << 10 if found else 0


def _forget_peak() -> None:
    """Makes the peak of the resident set what it is now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_bytes(b"5")


def _lower_limits() -> None:
    """Makes the converter's own limits small: within the real ones 2 KiB may ask for a GiB and 20 s.

    `tests/interop/test_largest.py` tries the real ones.
    """
    limits.MAX_CHUNK_REFS = 1 << 20  # type: ignore[misc]  # final in earnest
    limits.MAX_MEMORY_BYTES = 128 << 20  # type: ignore[misc]


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@contextlib.contextmanager
def _heartbeat(path: Path) -> Iterator[mmap.mmap]:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), HEARTBEAT.size) as shared:
        yield shared


def main() -> None:
    """Runs every `step`th case from `first` on, up to `stop`."""
    parser = argparse.ArgumentParser()
    for name in ("seed", "first", "stop", "step"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--heartbeat", type=Path, required=True)
    arguments = parser.parse_args()
    faulthandler.enable()  # the watcher ends a hanging worker by SIGABRT, which shows where all threads are
    findings = Findings()
    _lower_limits()
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory,
        _heartbeat(arguments.heartbeat) as shared,
    ):
        work = Path(directory)
        for warm_up in range(50):  # loads modules and images, which is no case's memory
            case = make_case(0, warm_up)
            with contextlib.suppress(Exception):
                TARGETS[case.target].run(case.data, work)
            _clear(work)
        _limit_memory()
        for number in range(arguments.first, arguments.stop, arguments.step):
            case = make_case(arguments.seed, number)
            shared[:] = HEARTBEAT.pack(number, time.monotonic())
            findings.run(number, case, work)
        shared[:] = HEARTBEAT.pack(arguments.stop, time.monotonic())
    totals = {
        "counts": findings.counts,
        "peak_bytes": findings.peak_bytes,
        "longest_s": round(findings.longest_s, 3),
    }
    print(json.dumps(totals), flush=True)
    sys.stdout.close()
    os._exit(0)  # without the interpreter's own clearing up, which may not get the memory for it


if __name__ == "__main__":
    main()
