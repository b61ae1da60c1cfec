"""Follows the jobs that a push made, as everybody can: through the service's API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from converter.oci import Digest
from tests.peers.programs import ProgramError
from tests.peers.stack import Service

_POLL_S: Final = 0.2
_ACTIVE: Final = ("queued", "running")


def follow_jobs(
    service: Service, repository: str, tag: str, source: Digest, timeout_s: float
) -> Iterator[str]:
    """Waits for the publication of a pushed tag.

    Args:
        service: the running service.
        repository: where the image was pushed.
        tag: its tag.
        source: digest of the pushed image.
        timeout_s: longest time the publication may take.

    Yields:
        A line for each job on the image that is accepted, each step that one finishes, and the end of each,
        with the seconds since the first.

    Raises:
        ProgramError: the publication failed, or did not end in time.
    """
    deadline = time.monotonic() + timeout_s
    told: set[str] = set()
    first: datetime | None = None
    while time.monotonic() < deadline:
        jobs = _jobs(service, repository, tag, source)
        for moment, text in sorted((event for job in jobs for event in _events(job)), key=itemgetter(0)):
            first = first or moment
            if text not in told:
                told.add(text)
                yield f"{max(0.0, (moment - first).total_seconds()):6.1f} s  {text}"
        ended = [job for job in jobs if job["kind"] == "publication" and job["state"] not in _ACTIVE]
        if failed := [job for job in ended if job["state"] != "done"]:
            raise ProgramError(f"publishing {repository}:{tag} {failed[0]['state']}: {failed[0]['error']}")
        if ended:
            return
        time.sleep(_POLL_S)
    log = service.log_text()[-4000:]
    raise ProgramError(f"{repository}:{tag} was not published within {timeout_s} s:\n{log}")


def _jobs(service: Service, repository: str, tag: str, source: Digest) -> list[dict[str, Any]]:
    """The publications of the tag that events asked for, and the conversions of the image, with their steps.

    Without those that the sweep at the service's start asks for: it sees the push too, and finds it done.
    """
    found = []
    for job in service.get("/v1/jobs", limit=100)["jobs"]:
        wanted, by_event = job["arguments"], not job["id"].startswith("publication-sweep-")
        if wanted.get("repository") == repository and (
            (job["kind"] == "publication" and wanted["tag"] == tag and by_event)
            or (job["kind"] == "image" and wanted["source"] == str(source))
        ):
            found.append(service.get(f"/v1/jobs/{job['id']}"))
    return found


def _events(job: dict[str, Any]) -> Iterator[tuple[datetime, str]]:
    """What happened to a job, with the times. Those of jobs are whole seconds, those of steps are exact."""
    name = f"{job['kind']:<12}"
    starts = [datetime.fromisoformat(step["started"]) for step in job["steps"]]
    yield min(starts, default=datetime.fromisoformat(job["created"])), f"{name}accepted as {job['id'][:28]}…"
    for step in job["steps"]:
        # The one step that is named after another kind of job asks for that job.
        text = f"{name}{step['name']}" + (" asked for" if step["name"] == "image" else "")
        yield datetime.fromisoformat(step["ended"]), text
    if job["state"] not in _ACTIVE:
        ends = [datetime.fromisoformat(step["ended"]) for step in job["steps"]]
        yield max(ends, default=datetime.fromisoformat(job["ended"])), f"{name}{job['state']}"
