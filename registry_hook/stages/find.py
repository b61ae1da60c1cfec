"""Looks for a conversion that is done or running, so that a digest is converted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from converter.oci import Descriptor, ImageIndex
from registry_hook.jobs.model import Job, JobRequest, Jobs, JobState, JsonObject
from registry_hook.requests import INDEX, ConversionRequest, text
from registry_hook.services import Services
from registry_hook.stages.outside import translated

_POWERS: Final = 20  # a million runs


def find_conversion(services: Services, request: ConversionRequest) -> JsonObject:
    """Finds the result of a conversion, or the number of the run to join or to start.

    Runs of one conversion are numbered, and the number is part of the job's id: whoever starts the same run
    is joined to it, and one that has ended can be run again.

    Returns:
        The result of the last run, if it succeeded and the registry still has it, with all images of an
        index; else `number`.
    """
    with translated():
        count, last = last_run(services.jobs, request.job)
    if last is None:
        return {"number": 1}
    if last.state.active:
        return {"number": count}
    if last.state is JobState.DONE and last.result is not None:
        with translated():
            kept = _is_kept(services, request, text(last.result, "digest"))
        if kept:
            return last.result
    return {"number": count + 1}


def all_there(services: Services, repository: str, entries: Iterable[Descriptor]) -> bool:
    """Whether the registry has the manifests that an index names."""
    return all(services.registry.resolve(repository, str(entry.digest)) is not None for entry in entries)


def _is_kept(services: Services, request: ConversionRequest, digest: str) -> bool:
    if services.registry.resolve(request.repository, digest) is None:
        return False
    if request.kind != INDEX:
        return True
    index = services.registry.manifest(request.repository, digest)
    return isinstance(index, ImageIndex) and all_there(services, request.repository, index.manifests)


def run_of(request: ConversionRequest, found: JsonObject) -> JobRequest:
    """The run that `find_conversion` named."""
    return request.job(int(str(found["number"])))


def last_run(jobs: Jobs, numbered: Callable[[int], JobRequest]) -> tuple[int, Job | None]:
    """The last run of something whose runs are numbered from 1 without a gap.

    What fails for a year is run again at each sweep, so the runs are not listed: for n of them, log2(n) + 1
    questions are enough.

    Args:
        jobs: where they are kept.
        numbered: gives the request of the n-th run.

    Returns:
        How many runs there are, and the last of them.
    """
    count, last = 0, None
    steps = [1 << power for power in range(_POWERS)]
    while steps:
        names = {step: numbered(count + step).job_id for step in steps}
        found = jobs.get(list(names.values()))
        reached = max((step for step in steps if names[step] in found), default=None)
        if reached is None:
            break
        count, last = count + reached, found[names[reached]]
        steps = [step for step in steps if step < reached]
    return count, last
