"""The worker: runs jobs with DBOS Transact.

What DBOS would do by itself and what is bound here (measured; docs/adr/0050):
 - A job is handed only to a worker of its version, and continued after a crash only by a worker of the same
   executor id: both are given, never derived.
 - Values are kept as JSON; the default is pickle, which would run code out of the database.
 - Retrying is ours, as durable sleeps between steps: DBOS's own would repeat below the registry client's.
 - A worker that is told to stop finishes what it can in the time given and then ends at once: tearing DBOS
   down under running workflows could record a shutdown as their failure, while a vanished worker's jobs are
   continued.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, PortableWorkflowError
from dbos import error as dbos_error

from registry_hook.errors import JobFailed, RetryLater
from registry_hook.jobs.database import is_sqlite, open_engine, prepare
from registry_hook.jobs.dbos_client import APPLICATION, BAD_INPUT, JOBS_VERSION, enqueue_options
from registry_hook.jobs.model import JobKind, JobRequest, JsonObject

_FIRST_DELAY_S: Final = 2.0
_LONGEST_DELAY_S: Final = 60.0
_RESULT_POLL_S: Final = 0.5
# What ends its worker so often would do it for ever, and take the jobs that run beside it along each time.
_MAX_RECOVERIES: Final = 20
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker runs.

    Args:
        executor_id: unique among live workers, and the same after a restart (see `executor`).
        poll_interval_s: how often each queue is looked at.
        retry_bound_s: how long a step that asks to run later is repeated before its job fails.
    """

    executor_id: str
    poll_interval_s: float = 0.2
    retry_bound_s: float = 6 * 3600.0


class DbosWorker:
    """Runs the jobs of some kinds until it is stopped. One per process: DBOS is a singleton.

    Args:
        url: URL of the job database.
        kinds: what this worker can run.
    """

    def __init__(self, url: str, kinds: Sequence[JobKind], options: WorkerOptions) -> None:
        self._url = url
        self._kinds = kinds
        self._options = options
        self._running = _Running()
        self._dbos: DBOS | None = None

    def start(self) -> None:
        """Continues the jobs that this executor left behind and takes new ones."""
        prepare(self._url)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "system_database_engine": open_engine(self._url, pool_size=20),
            "executor_id": self._options.executor_id,
            "application_version": JOBS_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "use_listen_notify": not is_sqlite(self._url),
        }
        self._dbos = DBOS(config=config)
        for kind in self._kinds:
            DBOS.workflow(name=kind.name, max_recovery_attempts=_MAX_RECOVERIES)(self._body(kind))
        DBOS.listen_queues([kind.name for kind in self._kinds])
        DBOS.launch()
        for kind in self._kinds:
            DBOS.register_queue(
                kind.name,
                worker_concurrency=kind.concurrency,
                polling_interval_sec=self._options.poll_interval_s,
                on_conflict="always_update",
            )

    def drain(self, timeout_s: float) -> int:
        """Takes no more jobs and waits for those that work.

        One that only pauses, before a step runs again or until another job ends, is not waited for: what it
        waits for may take hours, and it loses nothing.

        Returns:
            How many are not done. The caller then ends the process; they continue at the next start.
        """
        if self._dbos is not None:
            for stop in self._dbos.background_thread_stop_events:
                stop.set()
        busy = self._running.busy
        if busy:
            _log.info(f"waiting up to {timeout_s:g} s for {busy} job{'s' if busy > 1 else ''}")
        return self._running.wait_for_idle(timeout_s)

    def recover(self, executor_ids: Sequence[str]) -> int:
        """Takes over the jobs of workers that are known to be dead.

        DBOS does this only through its paid service, so this calls the function that its own start-up uses.
        """
        if self._dbos is None:
            raise RuntimeError("the worker has not been started")
        return len(self._dbos._recover_pending_workflows(list(executor_ids)))

    def _body(self, kind: JobKind) -> Callable[[JsonObject], JsonObject]:
        def body(arguments: JsonObject) -> JsonObject:
            run = _DbosRun(self._options, self._running)
            with (
                self._running.counted(),
                structlog.contextvars.bound_contextvars(job=run.job_id, kind=kind.name),
            ):
                try:
                    return kind.workflow(run, arguments)
                except JobFailed as error:
                    _log.warning("job failed", error=str(error), bad_input=error.bad_input)
                    raise _Failure(str(error), BAD_INPUT if error.bad_input else None) from error
                except Exception as error:
                    _log.exception("workflow raised an unexpected error")
                    raise _Failure(_one_line(error), None) from error

        return body


class _DbosRun:
    """Implements `Run` for the workflow of the current thread."""

    def __init__(self, options: WorkerOptions, running: _Running) -> None:
        self._options = options
        self._running = running
        self._job_id = DBOS.workflow_id or ""

    @property
    def job_id(self) -> str:
        return self._job_id

    def step(self, name: str, function: Callable[[], JsonObject]) -> JsonObject:
        """See `Run.step`. Decides by kept values only, so a replay takes the same way."""
        delay_s, waited_s = _FIRST_DELAY_S, 0.0
        while True:
            output = DBOS.run_step({"name": name}, guarded, function)
            if "value" in output:
                return _object(output["value"])
            if "failed" in output:
                raise JobFailed(str(output["failed"]), bad_input=output.get("bad_input") is True)
            if waited_s >= self._options.retry_bound_s:
                raise JobFailed(f"{output['later']} (given up after {waited_s:.0f} s)")
            _log.info("step will run again", step=name, reason=output["later"], delay_s=delay_s)
            with self._running.paused():
                DBOS.sleep(delay_s)
            waited_s += delay_s
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    def start(self, request: JobRequest) -> None:
        """See `Run.start`."""
        DBOS.enqueue_workflow_with_options(enqueue_options(request), dict(request.arguments))

    def wait_for(self, request: JobRequest) -> JsonObject:
        """See `Run.wait_for`."""
        try:
            handle = DBOS.enqueue_workflow_with_options(enqueue_options(request), dict(request.arguments))
            with self._running.paused():
                result = handle.get_result(polling_interval_sec=_RESULT_POLL_S)
        except PortableWorkflowError as error:
            raise JobFailed(error.message, bad_input=error.code == BAD_INPUT) from error
        except dbos_error.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded as error:
            # Not the image's fault as far as we know, so that the next sweep has it run anew.
            raise JobFailed(
                f"job {request.job_id} was given up: its worker ended before it did too often"
            ) from error
        except dbos_error.DBOSException as error:
            raise JobFailed(f"job {request.job_id} has no result: {error}") from error
        return _object(result)


class _Failure(Exception):  # noqa: N818 - its name is stored and read by people
    """What DBOS keeps of a failed job: the message, and `code`."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


def guarded(function: Callable[[], JsonObject]) -> dict[str, object]:
    """Runs a step and turns whatever comes of it into a value that can be kept and played back.

    Returns:
        `{"value": …}`, `{"later": reason}` or `{"failed": reason, "bad_input": bool}`.
    """
    try:
        # The round trip makes the first run see what a replay will see: lists instead of tuples.
        return {"value": json.loads(json.dumps(function()))}
    except RetryLater as error:
        return {"later": " ".join(str(error).split())}
    except JobFailed as error:
        return {"failed": str(error), "bad_input": error.bad_input}
    except Exception as error:
        # A fault of ours. The job fails with its name, the log has the rest.
        _log.exception("step raised an unexpected error")
        return {"failed": _one_line(error), "bad_input": False}


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"steps and workflows return JSON objects, not {type(value).__name__}")
    return value


class _Running:
    """How many workflows run in this process, and how many of them work rather than wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._paused = 0

    @property
    def busy(self) -> int:
        """How many workflows are at work."""
        with self._changed:
            return self._count - self._paused

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around a workflow."""
        self._change(count=1)
        try:
            yield
        finally:
            self._change(count=-1)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around a wait of a workflow, which may be cut off without any loss."""
        self._change(paused=1)
        try:
            yield
        finally:
            self._change(paused=-1)

    def wait_for_idle(self, timeout_s: float) -> int:
        """Waits until no workflow is at work; returns how many there still are."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == self._paused, timeout=timeout_s)
            return self._count

    def _change(self, *, count: int = 0, paused: int = 0) -> None:
        with self._changed:
            self._count += count
            self._paused += paused
            self._changed.notify_all()
