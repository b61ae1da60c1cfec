"""Looks for a conversion that is done or running, so that a digest is converted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from registry_hook.jobs.model import Job, JobRequest, JobState, JsonObject
from registry_hook.requests import ConversionRequest, text
from registry_hook.services import Services
from registry_hook.stages.outside import translated

_PAGE: Final = 16


def find_conversion(services: Services, request: ConversionRequest) -> JsonObject:
    """Finds the result of a conversion, or the number of the run to join or to start.

    Runs of one conversion are numbered, and the number is part of the job's id: whoever starts the same run
    is joined to it, and one that has ended can be run again.

    Returns:
        The result of the last run, if it succeeded and the registry still has it; else `number`.
    """
    with translated():
        runs = previous_runs(services, request.job)
    if not runs:
        return {"number": 1}
    last = runs[-1]
    if last.state.active:
        return {"number": len(runs)}
    if last.state is JobState.DONE and last.result is not None:
        with translated():
            kept = services.registry.resolve(request.repository, text(last.result, "digest"))
        if kept is not None:
            return last.result
    return {"number": len(runs) + 1}


def run_of(request: ConversionRequest, found: JsonObject) -> JobRequest:
    """The run that `find_conversion` named."""
    return request.job(int(str(found["number"])))


def previous_runs(services: Services, numbered: Callable[[int], JobRequest]) -> list[Job]:
    """All runs of something whose runs are numbered from 1, the oldest first.

    Args:
        services: where jobs are kept.
        numbered: gives the request of the n-th run.
    """
    runs: list[Job] = []
    while True:
        wanted = [numbered(number).job_id for number in range(len(runs) + 1, len(runs) + 1 + _PAGE)]
        found = services.jobs.get(wanted)
        runs += [found[job_id] for job_id in wanted if job_id in found]
        if len(found) < _PAGE:
            return runs
