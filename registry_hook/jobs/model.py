"""The vocabulary of jobs, free of any engine."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

# What arguments and results are made of. The recursion stops at `object` because type checkers cannot narrow
# a recursive alias; everything is checked where it is read.
JsonObject: TypeAlias = Mapping[str, object]


class JobState(enum.Enum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    # Started so often without ending that the engine gave it up: something kills the worker each time.
    ABANDONED = "abandoned"

    @property
    def active(self) -> bool:
        """Whether the job is still going to change."""
        return self in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be run.

    Args:
        kind: name of the workflow.
        job_id: asking twice for one id is asking once, for ever.
        arguments: JSON values for the workflow.
        priority: among waiting jobs of a kind, those with the lowest number are started first, and of these
            the oldest; 0 to 2**31 - 1.
    """

    kind: str
    job_id: str
    arguments: JsonObject
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is kept.

    Args:
        result: what the workflow returned, if it did.
        error: why it failed, in one line.
        bad_input: whether it failed because of the image itself.
        created_s: when it was asked for, seconds since the epoch; likewise the other times.
    """

    job_id: str
    kind: str
    state: JobState
    arguments: JsonObject
    result: JsonObject | None
    error: str | None
    bad_input: bool
    created_s: float
    started_s: float | None
    ended_s: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a job has finished."""

    name: str
    result: object
    error: str | None
    started_s: float | None
    ended_s: float | None


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs to list, newest first.

    Args:
        limit: 1 to 500.
        offset: how many to pass over.
    """

    kinds: tuple[str, ...] = ()
    states: tuple[JobState, ...] = ()
    limit: int = 50
    offset: int = 0


class Jobs(Protocol):
    """Asks for jobs and looks at them; works in any process.

    Every method raises UnavailableError when the job database cannot be reached.
    """

    def enqueue(self, request: JobRequest) -> None:
        """Makes a request durable: when this returns, it survives the loss of every process.

        Raises:
            NotStoredError: the job database did not take it.
        """
        ...

    def get(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """The jobs of those ids that exist."""
        ...

    def list_jobs(self, query: JobQuery) -> list[Job]:
        """The jobs that match, newest first, without arguments' order guaranteed."""
        ...

    def steps(self, job_id: str) -> list[Step]:
        """The finished steps of a job, in the order they were run."""
        ...

    def counts(self) -> dict[tuple[str, JobState], int]:
        """How many jobs there are of each kind in each state."""
        ...


class Run(Protocol):
    """What a running workflow may ask of its engine.

    A workflow is run again from its start after a crash, with the results of its finished steps played back,
    so between the steps it must do nothing but decide by their results.
    """

    @property
    def job_id(self) -> str:
        """The job that is running."""
        ...

    def step(self, name: str, function: Callable[[], JsonObject]) -> JsonObject:
        """Runs a step and keeps its result.

        The function may run again if the process dies before the result is kept, so it must be safe to
        repeat. `RetryLater` makes it run again after a while; any other error ends the job.

        Raises:
            JobFailed: the step failed for good.
        """
        ...

    def start(self, request: JobRequest) -> None:
        """Asks for another job, or joins it if it exists, and goes on."""
        ...

    def wait_for(self, request: JobRequest) -> JsonObject:
        """Asks for another job, or joins it if it exists, and waits for its result.

        Raises:
            JobFailed: that job failed, for the same reason.
        """
        ...


class Locks(Protocol):
    """Mutual exclusion by name. Not reentrant, and no thread may hold two at a time."""

    def hold(self, repository: str, tag: str) -> AbstractContextManager[None]:
        """Waits for the lock of a tag and holds it."""
        ...


Workflow: TypeAlias = Callable[[Run, JsonObject], JsonObject]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job and how many of it a worker runs at a time."""

    name: str
    workflow: Workflow
    concurrency: int
