"""Jobs kept in memory, and a run that plays steps like the engine does: the real interfaces, no database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from registry_hook.errors import JobFailed, NotStoredError, RetryLater, UnavailableError
from registry_hook.jobs.model import Job, JobQuery, JobRequest, JobState, JsonObject, Step


class FakeJobs:
    """Implements `Jobs`. `broken` makes it lose what it is given, as a full disk would."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.priorities: dict[str, int] = {}
        self.broken = False

    def enqueue(self, request: JobRequest) -> None:
        if self.broken:
            raise NotStoredError("the disk is full")
        job = Job(
            request.job_id, request.kind, JobState.QUEUED, json.loads(json.dumps(request.arguments)),
            None, None, False, 1000.0 + len(self.jobs), None, None, 0,
        )  # fmt: skip
        self.jobs.setdefault(request.job_id, job)
        self.priorities.setdefault(request.job_id, request.priority)

    def finish(self, job_id: str, result: JsonObject) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], state=JobState.DONE, result=result)

    def fail(self, job_id: str, error: str, *, bad_input: bool) -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id], state=JobState.FAILED, error=error, bad_input=bad_input
        )

    def get(self, job_ids: Sequence[str]) -> dict[str, Job]:
        if self.broken:
            raise UnavailableError("no database")
        return {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}

    def list_jobs(self, query: JobQuery) -> list[Job]:
        if self.broken:
            raise UnavailableError("no database")
        found = [
            job
            for job in reversed(self.jobs.values())
            if (not query.kinds or job.kind in query.kinds)
            and (not query.states or job.state in query.states)
        ]
        return found[query.offset : query.offset + query.limit]

    def steps(self, job_id: str) -> list[Step]:
        return [Step("resolve", {"digest": "x"}, None, 1.0, 2.5)] if job_id in self.jobs else []

    def counts(self) -> dict[tuple[str, JobState], int]:
        counts: dict[tuple[str, JobState], int] = {}
        for job in self.jobs.values():
            counts[job.kind, job.state] = counts.get((job.kind, job.state), 0) + 1
        return counts


class FakeRun:
    """Implements `Run`: keeps step results, and `runs` the jobs that are waited for."""

    def __init__(
        self, job_id: str = "job-1", runs: Callable[[JobRequest], JsonObject] | None = None, retries: int = 3
    ) -> None:
        self.job_id = job_id
        self.finished: list[str] = []
        self.started: list[JobRequest] = []
        self.waited_for: list[JobRequest] = []
        self._runs = runs
        self._retries = retries

    def step(self, name: str, function: Callable[[], JsonObject]) -> JsonObject:
        for _ in range(self._retries):
            try:
                value: JsonObject = json.loads(json.dumps(function()))
            except RetryLater:
                continue
            self.finished.append(name)
            return value
        raise JobFailed(f"{name} asked too often to run later")

    def start(self, request: JobRequest) -> None:
        self.started.append(request)

    def wait_for(self, request: JobRequest) -> JsonObject:
        self.waited_for.append(request)
        if self._runs is None:
            raise AssertionError(f"nothing runs {request.job_id}")
        return self._runs(request)
