"""Jobs on a real Postgres, with several workers: dead machines, locks, and a server that crashes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from registry_hook.errors import RetryLater
from registry_hook.jobs.database import open_engine, prepare
from registry_hook.jobs.dbos_client import DbosJobs
from registry_hook.jobs.locks import PostgresLocks
from registry_hook.jobs.model import JobRequest, JobState
from tests.peers.postgres import Postgres
from tests.registry_hook.jobs.test_dbos import Killable, done_steps, trace, wait_until

pytestmark = pytest.mark.peers


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture
def jobs(postgres: Postgres) -> Iterator[DbosJobs]:
    prepare(postgres.url)
    client = DbosJobs(postgres.url)
    yield client
    client.close()


def all_done(jobs: DbosJobs, job_ids: list[str]) -> bool:
    found = jobs.get(job_ids)
    return len(found) == len(job_ids) and all(job.state is JobState.DONE for job in found.values())


def test_the_jobs_of_a_machine_that_is_gone_are_taken_over(
    postgres: Postgres, jobs: DbosJobs, tmp_path: Path
) -> None:
    job_ids = [f"job-{number}" for number in range(24)]
    first, second = Killable(postgres.url, "one", tmp_path), Killable(postgres.url, "two", tmp_path)
    try:
        wait_until(lambda: sum(e[0] == "up" for e in trace(tmp_path)) == 2)
        for job_id in job_ids:
            jobs.enqueue(JobRequest("six", job_id, {}))
        wait_until(lambda: sum(e[0] == "end" for e in trace(tmp_path)) > 20)
        first.kill()  # and never started again
        wait_until(lambda: all_done(jobs, job_ids), 60)
    finally:
        first.kill()
        second.kill()
    assert set(done_steps(jobs, job_ids).values()) == {1}
    begun = Counter(
        (job, number) for what, job, *rest in trace(tmp_path) if what == "begin" for number in rest
    )
    twice = [step for step, count in begun.items() if count > 1]
    assert len(twice) <= 4, "only steps that were cut off may begin again"


def test_jobs_survive_a_crash_of_the_database(postgres: Postgres, jobs: DbosJobs, tmp_path: Path) -> None:
    job_ids = [f"job-{number}" for number in range(12)]
    for job_id in job_ids:
        jobs.enqueue(JobRequest("six", job_id, {}))
    worker = Killable(postgres.url, "one", tmp_path)
    try:
        wait_until(lambda: sum(e[0] == "end" for e in trace(tmp_path)) > 10)
        postgres.crash()
        # The worker lost the lock that proves it alive, so it ends itself; its supervisor starts it again.
        assert worker.process.wait(30) == 75
        worker.start()
        wait_until(lambda: all_done(DbosJobs(postgres.url), job_ids), 60)
    finally:
        worker.kill()


def test_locks_exclude_across_connections_and_die_with_them(postgres: Postgres) -> None:
    mine, theirs = PostgresLocks(open_engine(postgres.url)), PostgresLocks(open_engine(postgres.url))
    got = threading.Event()

    def wait() -> None:
        with theirs.hold("demo/app", "v1"):
            got.set()

    thread = threading.Thread(target=wait)
    with pytest.raises(RetryLater), mine.hold("demo/app", "v1"):  # noqa: PT012 - it is raised at the end
        with theirs.hold("demo/app", "v2"):
            pass
        thread.start()
        assert not got.wait(0.5)
        engine = open_engine(postgres.url)
        with engine.connect() as connection:
            held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM ({held}) AS holders"))
        assert got.wait(5), "a connection that ends frees its locks"
        thread.join()


def test_a_lock_is_given_back_when_what_it_guarded_fails(postgres: Postgres) -> None:
    mine, theirs = PostgresLocks(open_engine(postgres.url)), PostgresLocks(open_engine(postgres.url))
    with pytest.raises(ValueError, match="inside"), mine.hold("demo/app", "v1"):
        raise ValueError("inside")
    with theirs.hold("demo/app", "v1"):
        pass


def test_two_preparations_at_once_do_not_collide(postgres: Postgres) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            prepare(postgres.url)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    client = DbosJobs(postgres.url)
    client.enqueue(JobRequest("six", "a", {}))
    assert client.counts() == {("six", JobState.QUEUED): 1}
    client.close()
