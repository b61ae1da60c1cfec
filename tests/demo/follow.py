"""Follows the job that a push made, as everybody can: through the service's API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from tests.peers.programs import ProgramError
from tests.peers.stack import Service

_POLL_S: Final = 0.2


def follow_jobs(service: Service, repository: str, tag: str, timeout_s: float) -> Iterator[str]:
    """Waits for the publication of a pushed tag.

    Args:
        service: the running service.
        repository: where the image was pushed.
        tag: its tag.
        timeout_s: longest time the publication may take.

    Yields:
        A line for each job that appears and each step that a job finishes, and for the end of each job.

    Raises:
        ProgramError: the publication failed, or did not end in time.
    """
    deadline = time.monotonic() + timeout_s
    told: set[str] = set()
    while time.monotonic() < deadline:
        jobs = service.get("/v1/jobs", limit=100)["jobs"]
        for job in reversed(jobs):  # They come newest first.
            for line in _news(job, service.get(f"/v1/jobs/{job['id']}")["steps"]):
                if line not in told:
                    told.add(line)
                    yield line
        for job in jobs:
            if _is_publication(job, repository, tag) and job["ended"] is not None:
                if job["state"] != "done":
                    raise ProgramError(
                        f"the publication of {repository}:{tag} {job['state']}: {job['error']}"
                    )
                return
        time.sleep(_POLL_S)
    raise ProgramError(
        f"{repository}:{tag} was not published within {timeout_s} s:\n{service.log_text()[-4000:]}"
    )


def _is_publication(job: dict[str, Any], repository: str, tag: str) -> bool:
    arguments = job["arguments"]
    return bool(
        job["kind"] == "publication" and arguments["repository"] == repository and arguments["tag"] == tag
    )


def _news(job: dict[str, Any], steps: list[dict[str, Any]]) -> Iterator[str]:
    name = f"{job['kind']:<12} {job['id'].removeprefix(job['kind'] + '-')[:12]}"
    yield f"{name}  accepted"
    for number, step in enumerate(steps, 1):
        yield f"{name}  step {number}: {step['name']}"
    if job["ended"] is not None:
        yield f"{name}  {job['state']}" + (f": {job['error']}" if job["error"] else "")
