"""A worker process for tests to kill: `python worker_program.py URL EXECUTOR_ID DIRECTORY`.

Its one kind of job has six steps of 50 ms. Each start and end of a step's function is a line in a file that
the test reads, so a step that runs twice is seen.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from registry_hook.jobs.database import is_sqlite, open_engine
from registry_hook.jobs.dbos_worker import DbosWorker, WorkerOptions
from registry_hook.jobs.model import JobKind, JsonObject, Run
from registry_hook.jobs.reaper import Reaper

STEPS = 6


def main(url: str, executor_id: str, directory: Path) -> None:
    def note(line: str) -> None:
        with (directory / "trace").open("a") as file:
            file.write(line + "\n")

    def body(job: str, number: int) -> JsonObject:
        note(f"begin {job} {number}")
        time.sleep(0.05)
        note(f"end {job} {number}")
        return {"number": number, "pid": os.getpid()}

    def workflow(run: Run, arguments: JsonObject) -> JsonObject:
        total = 0
        for number in range(STEPS):
            total += int(str(run.step(f"step-{number}", lambda n=number: body(run.job_id, n))["number"]))  # type: ignore[misc]
        return {"total": total}

    worker = DbosWorker(url, [JobKind("six", workflow, 4)], WorkerOptions(executor_id, poll_interval_s=0.05))
    if not is_sqlite(url):
        reaper = Reaper(open_engine(url), executor_id, worker.recover)
        held = reaper.hold()
        worker.start()
        reaper.start(held)
    else:
        worker.start()
    note(f"up {executor_id}")
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
