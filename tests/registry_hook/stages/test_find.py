"""How the last run of a conversion is found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from registry_hook.jobs.model import Job, JobRequest
from registry_hook.stages.find import last_run
from tests.registry_hook.fake_jobs import FakeJobs


class CountingJobs(FakeJobs):
    """Counts how often it is asked."""

    asked = 0

    def get(self, job_ids: Sequence[str]) -> dict[str, Job]:
        self.asked += 1
        return super().get(job_ids)


def run(number: int) -> JobRequest:
    return JobRequest("image", f"image-key-{number}", {})


@pytest.mark.parametrize("count", [*range(20), 63, 64, 65, 8760])
def test_the_last_run_is_found_with_few_questions(count: int) -> None:
    jobs = CountingJobs()
    for number in range(1, count + 1):
        jobs.enqueue(run(number))
    found, last = last_run(jobs, run)
    assert found == count
    assert (last.job_id if last else None) == (run(count).job_id if count else None)
    assert jobs.asked <= max(1, count.bit_length())
