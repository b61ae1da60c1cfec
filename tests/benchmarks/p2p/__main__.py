"""`make bench-p2p`: measures the rows that are missing, as far as the time goes, and writes the page.

Rows that are measured stay in the results directory, so a run that is cut off or given little time goes on
where it stopped. A row that fails leaves nothing but its message, and the run goes on with the next.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.p2p.drawing import draw
from tests.benchmarks.p2p.library import Library, open_library, transferred_bytes
from tests.benchmarks.p2p.measure import Wanted, measure
from tests.benchmarks.p2p.page import DRAWING, Circumstances, curves, page
from tests.benchmarks.p2p.plan import Step, fitting, plan
from tests.benchmarks.p2p.results import Mode, Row, cells, load_all, save
from tests.benchmarks.p2p.swarm import Tuning
from tests.peers.pins import cache_directory
from tests.peers.programs import ProgramError

_SCRATCH: Final = "/dev/shm"


def main() -> int:
    """Measures, and writes the page."""
    arguments = _arguments()
    library = open_library(arguments.library, small=arguments.small)
    all_well = _measure_all(arguments, library)
    rows = load_all(arguments.results)
    for row in rows:
        print(
            f"{row.mode:<7} N={row.nodes:<3} run {row.run}: average {row.average_s:6.1f} s, slowest "
            f"{row.slowest_s:6.1f} s, origin {row.origin_images:.3f} images in "
            f"{row.seeding.requests + row.pulling.requests} requests, processors {row.processor:.0%}"
        )
    if arguments.page is not None and rows:
        _write_page(rows, library, arguments.page)
    return 0 if all_well else 1


def _write_page(rows: Sequence[Row], library: Library, path: Path) -> None:
    size = transferred_bytes(library.source)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = (
        f"{os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GB, Linux {platform.release()}"
    )
    path.write_text(page(rows, Circumstances(machine, size, library.program_in_words)))
    measured = cells(rows)
    draw(measured, curves(measured, size), path.with_name(DRAWING))
    print(f"wrote {path} and {DRAWING} beside it")


def _measure_all(arguments: argparse.Namespace, library: Library) -> bool:
    deadline_s = time.monotonic() + arguments.budget_s
    size = transferred_bytes(library.source)
    steps = plan(
        arguments.modes, arguments.nodes, arguments.runs, arguments.rate_mbit * 10**6, size, arguments.results
    )
    print(f"{len(steps)} rows to measure, about {sum(step.expected_s for step in steps) / 60:.0f} minutes")
    failed = False
    while step := fitting(steps, deadline_s - time.monotonic()):
        steps.remove(step)
        try:
            _measure(step, arguments, library)
        except ProgramError as error:
            failed = True
            print(f"{step.mode} N={step.nodes}: {error}", flush=True)
    if steps:
        print(f"{len(steps)} rows are left for another run with the same arguments")
    return not failed


def _measure(step: Step, arguments: argparse.Namespace, library: Library) -> None:
    started_s = time.monotonic()
    tuning = Tuning(arguments.parents, arguments.pieces, arguments.announced)
    wanted = Wanted(step.mode, step.nodes, step.run, arguments.rate_mbit * 10**6, tuning)
    directory = Path(tempfile.mkdtemp(dir=_SCRATCH, prefix="dragonhook-"))
    try:
        row = measure(wanted, library, directory)
    finally:
        if arguments.keep:
            print(directory)
        else:
            shutil.rmtree(directory)
    save(arguments.results, row)
    print(
        f"{row.mode} N={row.nodes}: average {row.average_s:.1f} s, slowest {row.slowest_s:.1f} s "
        f"({time.monotonic() - started_s:.0f} s in all, {step.expected_s:.0f} s expected)",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.p2p", description=__doc__)
    parser.add_argument("--results", type=Path, default=cache_directory() / "bench-p2p/results")
    parser.add_argument("--library", type=Path, default=cache_directory() / "bench-p2p/library")
    parser.add_argument("--page", type=Path, help="write this page, and its drawing beside it")
    parser.add_argument(
        "--modes", type=lambda text: [Mode(word) for word in text.split(",")], default=list(Mode)
    )
    parser.add_argument(
        "--nodes", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2, 4, 8, 16, 32]
    )
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rate-mbit", type=int, default=50)
    parser.add_argument("--budget-s", type=float, default=float("inf"))
    parser.add_argument("--parents", type=int, default=Tuning().candidate_parents)
    parser.add_argument("--pieces", type=int, default=Tuning().concurrent_pieces)
    parser.add_argument("--announced", type=int, default=Tuning().announced_rates)
    parser.add_argument("--small", action="store_true", help="11 MiB of random bytes instead of a real image")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
