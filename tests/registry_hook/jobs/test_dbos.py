"""Jobs on a real SQLite file, with workers that are killed for good and started again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from dbos import DBOS
from structlog.testing import capture_logs

from registry_hook.errors import JobFailed, NotStoredError, RetryLater
from registry_hook.jobs.database import open_engine, prepare
from registry_hook.jobs.dbos_client import DbosJobs
from registry_hook.jobs.dbos_worker import DbosWorker, WorkerOptions
from registry_hook.jobs.model import Job, JobKind, JobQuery, JobRequest, JobState, JsonObject, Run, Workflow
from registry_hook.stages.find import last_run

PROGRAM = Path(__file__).parent / "worker_program.py"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    prepare(url)
    return url


@pytest.fixture
def jobs(url: str) -> Iterator[DbosJobs]:
    client = DbosJobs(url)
    yield client
    client.close()


@contextmanager
def worker(url: str, **workflows: Workflow) -> Iterator[DbosWorker]:
    kinds = [JobKind(name, workflow, 4) for name, workflow in workflows.items()]
    running = DbosWorker(url, kinds, WorkerOptions("here", poll_interval_s=0.02, retry_bound_s=1.0))
    running.start()
    try:
        yield running
    finally:
        running.drain(5)
        DBOS.destroy(destroy_registry=True)


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def ended(jobs: DbosJobs, job_id: str) -> Job:
    wait_until(lambda: not jobs.get([job_id])[job_id].state.active)
    return jobs.get([job_id])[job_id]


def test_a_job_runs_and_keeps_its_steps(url: str, jobs: DbosJobs) -> None:
    def add(run: Run, arguments: JsonObject) -> JsonObject:
        first = run.step("first", lambda: {"pair": (1, 2)})
        assert first == {"pair": [1, 2]}, "the first run must see what a replay would see"
        return {"sum": run.step("second", lambda: {"sum": 3})["sum"], "given": arguments["x"]}

    jobs.enqueue(JobRequest("add", "job/1", {"x": "ü"}))
    assert jobs.get(["job/1"])["job/1"].state is JobState.QUEUED
    with worker(url, add=add):
        job = ended(jobs, "job/1")
    assert (job.state, job.result, job.arguments) == (JobState.DONE, {"sum": 3, "given": "ü"}, {"x": "ü"})
    assert [(step.name, step.result) for step in jobs.steps("job/1")] == [
        ("first", {"pair": [1, 2]}),
        ("second", {"sum": 3}),
    ]
    assert jobs.counts() == {("add", JobState.DONE): 1}


def test_one_id_is_one_job_for_ever(url: str, jobs: DbosJobs) -> None:
    runs: list[str] = []

    def once(run: Run, _arguments: JsonObject) -> JsonObject:
        def count() -> JsonObject:
            runs.append(run.job_id)
            return {"n": len(runs)}

        return run.step("count", count)

    request = JobRequest("once", "same", {})
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: jobs.enqueue(request), range(50)))
    with worker(url, once=once):
        ended(jobs, "same")
        jobs.enqueue(request)
        jobs.enqueue(JobRequest("once", "other", {}))
        ended(jobs, "other")
    assert runs == ["same", "other"]


def test_a_job_of_a_higher_class_overtakes_those_that_wait(url: str, jobs: DbosJobs) -> None:
    order: list[str] = []

    def note(run: Run, _arguments: JsonObject) -> JsonObject:
        order.append(run.job_id)
        return {}

    for number in range(40):
        jobs.enqueue(JobRequest("note", f"backlog-{number}", {}, priority=10))
    jobs.enqueue(JobRequest("note", "urgent", {}))
    with worker(url, note=note):
        wait_until(lambda: len(order) == 41)
    assert order.index("urgent") < 4, "it is among the first that the worker takes"


def test_a_step_that_asks_to_run_later_is_repeated_and_each_try_is_shown(url: str, jobs: DbosJobs) -> None:
    tries: list[float] = []

    def patient(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            tries.append(time.monotonic())
            if len(tries) < 2:
                raise RetryLater("the registry\nis down")
            return {"ok": True}

        return run.step("try", step)

    jobs.enqueue(JobRequest("patient", "p", {}))
    with worker(url, patient=patient):
        assert ended(jobs, "p").state is JobState.DONE
    assert [(step.name, step.error) for step in jobs.steps("p")] == [
        ("try", "the registry is down"),
        ("try", None),
    ]
    assert tries[1] - tries[0] >= 2


def test_the_patience_is_bounded(url: str, jobs: DbosJobs) -> None:
    def hopeless(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            raise RetryLater("still down")

        return run.step("try", step)

    jobs.enqueue(JobRequest("hopeless", "h", {}))
    with worker(url, hopeless=hopeless):
        job = ended(jobs, "h")
    assert (job.state, job.error, job.bad_input) == (
        JobState.FAILED,
        "still down (given up after 2 s)",
        False,
    )


def test_a_failure_says_why_in_one_line_and_reaches_who_waits(url: str, jobs: DbosJobs) -> None:
    seen: list[tuple[str, bool]] = []

    def broken(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            raise JobFailed("layer 2:\n  gzip ends early", bad_input=True)

        return run.step("convert", step)

    def waiting(run: Run, _arguments: JsonObject) -> JsonObject:
        try:
            return run.wait_for(JobRequest("broken", "b", {}))
        except JobFailed as error:
            seen.append((str(error), error.bad_input))
            raise

    jobs.enqueue(JobRequest("waiting", "w", {}))
    with worker(url, broken=broken, waiting=waiting):
        job = ended(jobs, "w")
    assert seen == [("layer 2: gzip ends early", True)]
    for found in (job, jobs.get(["b"])["b"]):
        assert (found.state, found.error, found.bad_input) == (
            JobState.FAILED, "layer 2: gzip ends early", True,
        )  # fmt: skip


def test_an_unexpected_error_fails_the_job_and_not_the_worker(url: str, jobs: DbosJobs) -> None:
    def faulty(run: Run, arguments: JsonObject) -> JsonObject:
        if arguments.get("outside"):
            raise KeyError("outside a step")
        return run.step("divide", lambda: {"x": 1 // 0})

    jobs.enqueue(JobRequest("faulty", "f", {}))
    jobs.enqueue(JobRequest("faulty", "g", {"outside": True}))
    with worker(url, faulty=faulty):
        assert ended(jobs, "f").error == "ZeroDivisionError: integer division or modulo by zero"
        assert ended(jobs, "g").error == "KeyError: 'outside a step'"


def test_jobs_started_before_waiting_run_side_by_side(url: str, jobs: DbosJobs) -> None:
    both: list[str] = []

    def child(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            both.append(run.job_id)
            wait_until(lambda: len(both) == 2)
            return {"id": run.job_id}

        return run.step("meet", step)

    def parent(run: Run, _arguments: JsonObject) -> JsonObject:
        wanted = [JobRequest("child", f"c{number}", {}) for number in range(2)]
        for request in wanted:
            run.start(request)
        return {"ids": [run.wait_for(request)["id"] for request in wanted]}

    jobs.enqueue(JobRequest("parent", "p", {}))
    with worker(url, child=child, parent=parent):
        assert ended(jobs, "p").result == {"ids": ["c0", "c1"]}


def test_jobs_are_listed_newest_first_by_kind_and_state(jobs: DbosJobs) -> None:
    for number in range(3):
        jobs.enqueue(JobRequest("a", f"a{number}", {}))
    jobs.enqueue(JobRequest("b", "b0", {}))
    assert {job.job_id for job in jobs.list_jobs(JobQuery(kinds=("a",)))} == {"a0", "a1", "a2"}
    assert len(jobs.list_jobs(JobQuery(limit=2))) == 2
    assert jobs.list_jobs(JobQuery(states=(JobState.FAILED,))) == []
    assert len(jobs.list_jobs(JobQuery(states=(JobState.QUEUED,), offset=3))) == 1


def test_the_database_is_set_up_to_survive(url: str) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30000, "foreign_keys": 1}


def test_values_are_kept_as_json_not_as_pickles(url: str, jobs: DbosJobs, tmp_path: Path) -> None:
    jobs.enqueue(JobRequest("a", "a", {"x": 1}))
    with sqlite3.connect(tmp_path / "jobs.sqlite") as plain:
        dump = "\n".join(plain.iterdump())
    assert "portable_json" in dump
    assert "py_pickle" not in dump
    assert '"x":1' in dump


def test_a_database_that_is_not_there_is_an_error_for_the_sender(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(NotStoredError):
        DbosJobs(f"sqlite:///{tmp_path}/db")


class Killable:
    """A worker process that is started again after each kill."""

    def __init__(self, url: str, executor_id: str, directory: Path) -> None:
        self._command = [sys.executable, str(PROGRAM), url, executor_id, str(directory)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def trace(directory: Path) -> list[list[str]]:
    path = directory / "trace"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def done_steps(jobs: DbosJobs, job_ids: list[str]) -> Counter[tuple[str, str]]:
    return Counter((job_id, step.name) for job_id in job_ids for step in jobs.steps(job_id))


def test_every_job_survives_a_worker_that_is_killed_again_and_again(
    url: str, jobs: DbosJobs, tmp_path: Path
) -> None:
    job_ids = [f"job-{number}" for number in range(24)]
    for job_id in job_ids:
        jobs.enqueue(JobRequest("six", job_id, {}))
    victim = Killable(url, "one", tmp_path)
    kept: Counter[tuple[str, str]] = Counter()
    begun_after_kept: list[tuple[str, str]] = []
    try:
        for kill in range(3):
            wait_until(lambda kill=kill: len([e for e in trace(tmp_path) if e[0] == "end"]) > 12 + 20 * kill)  # type: ignore[misc]
            victim.kill()
            kept = done_steps(jobs, job_ids)
            before = len(trace(tmp_path))
            victim.start()
            wait_until(lambda before=before: len(trace(tmp_path)) > before + 8)  # type: ignore[misc]
            begun_after_kept += [
                (job, f"step-{number}")
                for what, job, *rest in trace(tmp_path)[before:]
                if what == "begin"
                for number in rest
                if kept[job, f"step-{number}"]
            ]
        wait_until(lambda: all(job.state is JobState.DONE for job in jobs.get(job_ids).values()))
    finally:
        victim.kill()
    assert {job.result["total"] for job in jobs.get(job_ids).values() if job.result} == {15}
    assert begun_after_kept == [], "a step whose result was kept ran again"
    assert set(done_steps(jobs, job_ids).values()) == {1}


def test_what_was_acknowledged_is_there_after_the_sender_of_jobs_is_killed(url: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from registry_hook.jobs.dbos_client import DbosJobs\n"
        "from registry_hook.jobs.model import JobRequest\n"
        "jobs = DbosJobs(sys.argv[1])\n"
        "number = 0\n"
        "while True:\n"
        "    jobs.enqueue(JobRequest('a', f'job-{number}', {}))\n"
        "    print(number, flush=True)\n"
        "    number += 1\n"
    )
    sender = subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True, cwd=PROGRAM.parents[3]
    )
    assert sender.stdout is not None
    acknowledged = [int(sender.stdout.readline()) for _ in range(30)]
    sender.kill()
    acknowledged += [int(line) for line in sender.stdout.read().splitlines() if line.strip()]
    sender.wait()
    client = DbosJobs(url)
    wanted = [f"job-{number}" for number in acknowledged]
    assert set(client.get(wanted)) == set(wanted)
    client.close()


def test_stopping_does_not_wait_for_a_job_that_only_pauses_between_tries(url: str, jobs: DbosJobs) -> None:
    def patient(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            raise RetryLater("the registry is down")

        return run.step("try", step)

    jobs.enqueue(JobRequest("patient", "p", {}))
    with worker(url, patient=patient) as running:
        wait_until(lambda: len(jobs.steps("p")) == 1)
        begun_s = time.monotonic()
        assert running.drain(30) == 1, "it is not done"
        assert time.monotonic() - begun_s < 1


def test_stopping_does_not_wait_for_a_job_that_waits_for_one_nobody_runs(url: str, jobs: DbosJobs) -> None:
    def waiting(run: Run, _arguments: JsonObject) -> JsonObject:
        return run.wait_for(JobRequest("elsewhere", "e", {}))

    jobs.enqueue(JobRequest("waiting", "w", {}))
    with worker(url, waiting=waiting) as running:
        wait_until(lambda: "e" in jobs.get(["e"]))
        begun_s = time.monotonic()
        assert running.drain(10) == 1
        assert time.monotonic() - begun_s < 1
        assert jobs.get(["e"])["e"].state is JobState.QUEUED
        DBOS.cancel_workflow("e")  # or its thread would wait for ever
        wait_until(lambda: running.drain(0) == 0)


def test_stopping_waits_for_a_job_that_works_and_says_so(url: str, jobs: DbosJobs) -> None:
    begun = threading.Event()

    def slow(run: Run, _arguments: JsonObject) -> JsonObject:
        def step() -> JsonObject:
            begun.set()
            time.sleep(0.5)
            return {"ok": True}

        return run.step("work", step)

    jobs.enqueue(JobRequest("slow", "s", {}))
    with capture_logs() as entries, worker(url, slow=slow) as running:
        assert begun.wait(10)
        assert running.drain(10) == 0
        assert ended(jobs, "s").state is JobState.DONE
    assert "waiting up to 10 s for 1 job" in [entry["event"] for entry in entries]


def left_running(directory: Path, job_id: str, starts: int) -> None:
    """Makes a queued job look like one whose worker died with it, `starts` times."""
    with sqlite3.connect(directory / "jobs.sqlite") as plain:
        changed = plain.execute(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'here', recovery_attempts = ?"
            " WHERE workflow_uuid = ?",
            (starts, job_id),
        )
    assert changed.rowcount == 1


def test_a_job_that_ends_its_worker_each_time_is_given_up_and_can_be_run_anew(
    url: str, jobs: DbosJobs, tmp_path: Path
) -> None:
    ran: list[str] = []
    seen: list[tuple[str, bool]] = []

    def deadly(run: Run, _arguments: JsonObject) -> JsonObject:
        ran.append(run.job_id)
        return {"ok": True}

    def waiting(run: Run, _arguments: JsonObject) -> JsonObject:
        try:
            return run.wait_for(numbered(1))
        except JobFailed as error:
            seen.append((str(error), error.bad_input))
            raise

    def numbered(number: int) -> JobRequest:
        return JobRequest("deadly", f"deadly-{number}", {})

    jobs.enqueue(numbered(1))
    jobs.enqueue(JobRequest("deadly", "once-more", {}))
    left_running(tmp_path, "deadly-1", 21)
    left_running(tmp_path, "once-more", 20)
    jobs.enqueue(JobRequest("waiting", "w", {}))
    with worker(url, deadly=deadly, waiting=waiting):
        given_up = ended(jobs, "deadly-1")
        assert ended(jobs, "once-more").state is JobState.DONE
        # Asking for the same run again neither fails nor runs it; the next number is a new run.
        jobs.enqueue(numbered(1))
        assert last_run(jobs, numbered)[0] == 1
        jobs.enqueue(numbered(2))
        assert ended(jobs, "deadly-2").state is JobState.DONE
        assert ended(jobs, "w").state is JobState.FAILED
    assert given_up.state is JobState.ABANDONED
    assert given_up.error == "given up: it was started 21 times, and each time its worker ended before it did"
    assert not given_up.bad_input
    assert ran == ["once-more", "deadly-2"]
    assert seen == [("job deadly-1 was given up: its worker ended before it did too often", False)]


# SQLite's lock of a reader, which tells another process that the write-ahead log is in use.
TAKE_READ_LOCK = (
    "import fcntl, sys\n"
    "with open(sys.argv[1], 'r+b') as file:\n"
    "    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)\n"
)


def test_opening_the_database_again_leaves_the_locks_of_this_process(tmp_path: Path) -> None:
    # POSIX locks belong to the process, and go when it closes any descriptor of the file.
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    prepare(url)
    with open_engine(url).connect() as held:
        held.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        open_engine(url).dispose()
        other = subprocess.run(
            [sys.executable, "-c", TAKE_READ_LOCK, str(tmp_path / "jobs.sqlite")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "BlockingIOError" in other.stderr
