"""Jobs as DBOS Transact keeps them, for processes that ask for jobs and look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions, StepInfo, WorkflowStatus
from dbos import error as dbos_error

from registry_hook.errors import NotStoredError, UnavailableError
from registry_hook.jobs.database import SCHEMA, is_sqlite, open_engine
from registry_hook.jobs.model import Job, JobQuery, JobRequest, JobState, Step

APPLICATION: Final = "dragonhook"
# DBOS hands a job only to workers of its own version, and would otherwise derive the version from the source:
# then an upgrade would leave every running job behind. Raise it only when old jobs cannot be continued by the
# new code.
JOBS_VERSION: Final = "1"
# Kept as the error's code, so that a reader need not look at the text.
BAD_INPUT: Final = "bad-input"
# Names of steps that belong to the engine and say nothing to a reader.
_ENGINE_STEP: Final = "DBOS."

_STATES: Final = {
    "ENQUEUED": JobState.QUEUED,
    "DELAYED": JobState.QUEUED,
    "PENDING": JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "ERROR": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": JobState.ABANDONED,
}


def enqueue_options(request: JobRequest) -> EnqueueOptions:
    """How a request is put to DBOS: the queue has the kind's name, and an id is used once."""
    options: EnqueueOptions = {
        "workflow_name": request.kind,
        "queue_name": request.kind,
        "workflow_id": request.job_id,
        "app_version": JOBS_VERSION,
    }
    if request.priority:  # DBOS calls 0, its own default, invalid where it is given.
        options["priority"] = request.priority
    return options


class DbosJobs:
    """Implements `Jobs`.

    Args:
        url: URL of the job database, which `database.prepare` has been run on.

    Raises:
        NotStoredError: the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._table = "workflow_status" if is_sqlite(url) else f'"{SCHEMA}".workflow_status'
        try:
            self._client = DBOSClient(
                system_database_engine=self._engine,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                # A caller who waits for an answer is better served by an error than by an endless wait.
                retry_connection_errors=False,
            )
        except (sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
            raise NotStoredError(f"the job database cannot be reached: {error}") from error

    def close(self) -> None:
        """Closes the connections."""
        self._client.destroy()
        self._engine.dispose()

    def enqueue(self, request: JobRequest) -> None:
        """See `Jobs.enqueue`. The commit is fsynced: `synchronous=FULL`, or Postgres's own default."""
        try:
            self._client.enqueue(enqueue_options(request), dict(request.arguments))
        except (sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
            raise NotStoredError(f"job {request.job_id} was not stored: {error}") from error

    def get(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """See `Jobs.get`."""
        if not job_ids:
            return {}
        with _reading():
            found = self._client.list_workflows(workflow_ids=list(job_ids))
            return {status.workflow_id: _job(status) for status in found}

    def list_jobs(self, query: JobQuery) -> list[Job]:
        """See `Jobs.list_jobs`."""
        wanted = [name for name, state in _STATES.items() if state in query.states]
        with _reading():
            found = self._client.list_workflows(
                name=list(query.kinds) or None,
                status=wanted or None,
                limit=query.limit,
                offset=query.offset,
                sort_desc=True,
            )
            return [_job(status) for status in found]

    def steps(self, job_id: str) -> list[Step]:
        """See `Jobs.steps`."""
        with _reading():
            found = self._client.list_workflow_steps(job_id)
        return [_step(step) for step in found if not step["function_name"].startswith(_ENGINE_STEP)]

    def counts(self) -> dict[tuple[str, JobState], int]:
        """See `Jobs.counts`. DBOS 3.4 has no such query, so this reads its table."""
        statement = sa.text(f"SELECT name, status, count(*) FROM {self._table} GROUP BY name, status")  # noqa: S608
        counts: dict[tuple[str, JobState], int] = {}
        with _reading(), self._engine.connect() as connection:
            for name, status, count in connection.execute(statement):
                key = (str(name), _STATES[status])
                counts[key] = counts.get(key, 0) + int(count)
        return counts


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
        raise UnavailableError(f"the job database cannot be read: {error}") from error


def outcome_of(output: object) -> tuple[object, str | None]:
    """What a step's record holds: its result, or why it has none (see `dbos_worker.guarded`)."""
    if not isinstance(output, Mapping):
        return output, None
    error = output.get("failed") or output.get("later")
    return output.get("value"), None if error is None else str(error)


def _job(status: WorkflowStatus) -> Job:
    arguments = status.input["args"][0] if status.input and status.input["args"] else {}
    error = status.error
    return Job(
        job_id=status.workflow_id,
        kind=status.name,
        state=_STATES[status.status],
        arguments=arguments,
        result=status.output,
        error=" ".join(str(error).split()) if error is not None else _given_up(status),
        bad_input=getattr(error, "code", None) == BAD_INPUT,
        created_s=(status.created_at or 0) / 1000,
        started_s=_seconds(status.dequeued_at),
        ended_s=_seconds(status.completed_at),
        attempts=status.recovery_attempts or 0,
    )


def _given_up(status: WorkflowStatus) -> str | None:
    """What DBOS keeps no error of; the start that it refused is counted, too."""
    if _STATES[status.status] is not JobState.ABANDONED:
        return None
    starts = (status.recovery_attempts or 1) - 1
    return f"given up: it was started {starts} times, and each time its worker ended before it did"


def _step(step: StepInfo) -> Step:
    result, error = outcome_of(step["output"])
    return Step(
        name=step["function_name"],
        result=result,
        error=error or (str(step["error"]) if step["error"] is not None else None),
        started_s=_seconds(step["started_at_epoch_ms"]),
        ended_s=_seconds(step["completed_at_epoch_ms"]),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
