"""The worker process: runs jobs until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from types import FrameType

import structlog

from p2p_seed.errors import StoreError
from registry_hook import pipeline
from registry_hook.jobs.database import is_sqlite, open_engine, prepare
from registry_hook.jobs.dbos_client import DbosJobs
from registry_hook.jobs.dbos_worker import DbosWorker, WorkerOptions
from registry_hook.jobs.executor import claim_slot
from registry_hook.jobs.reaper import Reaper
from registry_hook.registry import RegistryClient, RegistryError, RetryLaterError
from registry_hook.services import Services
from registry_hook.settings import Settings
from registry_hook.sweep_timer import SweepTimer
from registry_hook.wiring.services import services as build_services

# Uploads into the store that began longer ago than this were killed.
_LONGEST_PUT = timedelta(days=1)
_log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT, then gives running jobs some time; the rest goes on at the next start.

    Raises:
        SettingsError: another worker of this machine is running, with SQLite.
    """
    url = settings.database_url
    stop = _stop_on_signals()
    slot = claim_slot(
        settings.state_dir / "workers", only_one=is_sqlite(url), executor_id=settings.jobs.executor_id
    )
    prepare(url)
    jobs = DbosJobs(url)
    services = build_services(settings, jobs)
    _clean_up(services)
    kinds = pipeline.kinds(
        services, conversions=settings.jobs.conversions, publications=settings.jobs.publications
    )
    options = WorkerOptions(slot.executor_id, settings.jobs.poll_interval_s, settings.jobs.retry_bound_s)
    worker = DbosWorker(url, kinds, options)
    if is_sqlite(url):
        worker.start()
    else:
        reaper = Reaper(open_engine(url), slot.executor_id, worker.recover)
        held = reaper.hold()
        worker.start()
        reaper.start(held)
    timer = SweepTimer(jobs, settings.jobs.sweep_interval_s, lambda: answers(services.registry), time.time)
    timer.start()
    _log.info("worker is running", executor=slot.executor_id, settings=services.options.fingerprint())
    stop.wait()
    _end_at_the_next_signal()
    timer.stop()
    left = worker.drain(settings.jobs.drain_s)
    _log.info("worker has stopped", unfinished_jobs=left)
    # Without any tidying: threads that still work must not see their surroundings being taken apart, and what
    # they leave is continued by the next start, as after a crash.
    os._exit(0)


def answers(registry: RegistryClient) -> bool:
    """Whether the registry says anything at all."""
    try:
        registry.ping()
    except RetryLaterError:
        return False
    except RegistryError:
        return True
    return True


def _clean_up(services: Services) -> None:
    def active(job_ids: list[str]) -> set[str]:
        return {job_id for job_id, job in services.jobs.get(job_ids).items() if job.state.active}

    removed = services.spool.remove_leftovers(active)
    if removed:
        _log.info("removed spool directories of jobs that have ended", count=removed)
    before = datetime.fromtimestamp(services.now_s(), UTC) - _LONGEST_PUT
    try:
        removed = services.store.remove_leftovers(before)
    except StoreError as error:
        _log.warning("could not remove what killed uploads left in the store", error=str(error))
    else:
        if removed:
            _log.info("removed what killed uploads left in the store", count=removed)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def _end_at_the_next_signal() -> None:
    """Lets whoever does not want to wait for running jobs end the process by asking once more."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        _log.warning("worker ends at once", signal=signal.Signals(number).name)
        os._exit(0)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
