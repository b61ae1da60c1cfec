"""What a sweep asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Semaphore

import pytest

from converter.oci import Digest, media_types
from registry_hook.errors import JobFailed, RetryLater
from registry_hook.jobs.model import JobQuery, JobRequest, JobState, Run
from registry_hook.requests import IMAGE, PUBLICATION, ConversionRequest, PublicationRequest, SweepRequest
from registry_hook.sweep import sweep
from registry_hook.sweep_timer import SweepTimer
from tests.registry_hook.fake_jobs import FakeJobs, FakeRun
from tests.registry_hook.world import REPOSITORY, World, small_image


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def swept(world: World) -> list[tuple[str, str]]:
    """The tags that a sweep newly asked publications for."""
    before = set(world.jobs.jobs)
    sweep(world.services)
    new = [job for job in world.jobs.jobs.values() if job.job_id not in before]
    assert all(job.kind == PUBLICATION for job in new)
    return [(str(job.arguments["repository"]), str(job.arguments["tag"])) for job in new]


def run_all(world: World) -> None:
    for job in list(world.jobs.list_jobs(JobQuery(kinds=(PUBLICATION,), limit=500))):
        if job.state.active:
            world.run(JobRequest(job.kind, job.job_id, job.arguments))


def test_tags_without_their_converted_image_are_asked_for_and_then_no_more(world: World) -> None:
    world.push("v1", small_image("a"))
    world.push("v2", small_image("b"))
    world.push("v1", small_image("c"), repository="other/app")
    assert swept(world) == [(REPOSITORY, "v1"), (REPOSITORY, "v2"), ("other/app", "v1")]
    run_all(world)
    assert world.tag("v1-nydus")
    assert world.tag("v2-nydus")
    assert swept(world) == []


def test_pushes_overtake_what_a_sweep_asks_for(world: World) -> None:
    source = world.push("v1", small_image())
    sweep(world.services)
    (asked,) = world.jobs.priorities.values()
    assert PublicationRequest(REPOSITORY, "v1", source, 1.0).job("event").priority < asked


def test_what_was_asked_for_is_not_asked_for_again_before_it_ended(world: World) -> None:
    world.push("v1", small_image())
    assert len(swept(world)) == 1
    assert swept(world) == []
    world.push("v1", small_image("moved"))
    assert len(swept(world)) == 1
    for job in list(world.jobs.jobs):
        world.jobs.fail(job, "the registry was down for too long", bad_input=False)
    assert len(swept(world)) == 1


def test_a_moved_tag_is_asked_for(world: World) -> None:
    world.event("v1", world.push("v1", small_image("a")))
    assert swept(world) == []
    world.push("v1", small_image("b"))
    assert swept(world) == [(REPOSITORY, "v1")]


def test_products_artifacts_and_fallback_tags_are_passed_over(world: World) -> None:
    world.event("v1", world.push("v1", small_image()))
    assert len(world.registry.tags) > 6
    assert swept(world) == []


def test_a_converted_tag_whose_source_tag_is_gone_stays(world: World) -> None:
    world.event("v1", world.push("v1", small_image()))
    del world.registry.tags[REPOSITORY, "v1"]
    assert swept(world) == []
    assert world.tag("v1-nydus")


def delete(world: World, digest: Digest) -> None:
    """As the registry does it: with all tags of the manifest."""
    del world.registry.manifests[REPOSITORY, str(digest)]
    world.registry.tags = {k: v for k, v in world.registry.tags.items() if v != str(digest)}


def push_multi(world: World) -> Digest:
    entries = []
    for architecture in ("amd64", "arm64"):
        image = small_image(architecture, architecture)
        world.push(None, image)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({**image.manifest.descriptor.to_json(), "platform": platform})
    return world.push_index("v1", entries)


def conversions(world: World, tag: str) -> list[Digest]:
    marked = [e for e in world.index(tag).manifests if e.artifact_type == media_types.NYDUS_MANIFEST]
    return [entry.digest for entry in marked]


def test_a_merged_index_whose_conversion_was_deleted_is_repaired(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    source = world.push("v1", small_image())
    world.event("v1", source)
    assert swept(world) == []
    (converted,) = conversions(world, "v1")
    delete(world, converted)
    assert swept(world) == [(REPOSITORY, "v1")]
    run_all(world)
    (repaired,) = conversions(world, "v1")
    assert world.tag("v1-nydus") == str(repaired)
    assert (REPOSITORY, str(repaired)) in world.registry.manifests
    assert world.index("v1").manifests[0].digest == source
    assert swept(world) == []


def test_a_merged_index_without_its_converted_tag_is_repaired(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    world.event("v1", push_multi(world))
    tag, merged = world.tag("v1-nydus"), world.tag("v1")
    del world.registry.tags[REPOSITORY, "v1-nydus"]
    assert swept(world) == [(REPOSITORY, "v1")]
    run_all(world)
    assert (world.tag("v1-nydus"), world.tag("v1")) == (tag, merged)
    assert swept(world) == []


@pytest.mark.parametrize("merged", [False, True])
def test_a_collected_image_of_a_converted_index_is_made_again(world: World, merged: bool) -> None:
    world.services = replace(world.services, merged_index=merged)
    world.event("v1", push_multi(world))
    assert swept(world) == []
    lost = world.index("v1-nydus").manifests[1].digest
    delete(world, lost)
    assert swept(world) == [(REPOSITORY, "v1")]
    run_all(world)
    for name in ("v1", "v1-nydus"):
        named = world.index(name).manifests
        assert all((REPOSITORY, str(entry.digest)) in world.registry.manifests for entry in named)
    assert swept(world) == []


def test_a_merged_index_without_its_source_cannot_be_repaired_and_says_so(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    source = push_multi(world)
    world.event("v1", source)
    delete(world, source)
    assert swept(world) == []
    delete(world, world.index("v1-nydus").digest)
    assert sweep(world.services)["unreadable"] == 1
    with pytest.raises(JobFailed, match=f"v1 is a merged index of {source}, .* push the image again"):
        world.event("v1", None)


def test_an_ordinary_image_under_a_name_like_ours_is_asked_for(world: World) -> None:
    world.push("my-nydus", small_image())
    assert swept(world) == [(REPOSITORY, "my-nydus")]


def test_a_tag_whose_name_for_us_is_taken_is_not_tried_every_hour(world: World) -> None:
    world.push("v1", small_image("a"))
    world.push("v1-nydus", small_image("somebody's own"))
    assert swept(world) == [(REPOSITORY, "v1-nydus")]


def test_an_image_that_was_found_to_be_broken_is_not_tried_every_hour(world: World) -> None:
    source = world.push("v1", small_image())
    job = ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY)).job(1)
    world.jobs.enqueue(job)
    world.jobs.fail(job.job_id, "layer 1: gzip ends early", bad_input=True)
    assert swept(world) == []
    world.jobs.fail(job.job_id, "the registry was down for too long", bad_input=False)
    assert swept(world) == [(REPOSITORY, "v1")]


def test_what_was_given_up_is_asked_for_again_and_converted_by_a_new_run(world: World) -> None:
    world.push("v1", small_image())
    swept(world)
    (asked,) = world.jobs.jobs
    source = Digest.parse(str(world.tag("v1")))
    conversion = ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY))
    world.jobs.enqueue(conversion.job(1))
    for job_id in (asked, conversion.job(1).job_id):
        world.jobs.jobs[job_id] = replace(world.jobs.jobs[job_id], state=JobState.ABANDONED)
    assert swept(world) == [(REPOSITORY, "v1")]
    run_all(world)
    assert conversion.job(2).job_id in world.ran
    assert world.tag("v1-nydus")


def test_one_unreadable_tag_does_not_hide_the_others(world: World) -> None:
    world.push("a", small_image("a"))
    broken = world.registry.push(REPOSITORY, "b", b"{}", "application/vnd.oci.image.manifest.v1+json")
    world.push("c", small_image("c"))
    assert swept(world) == [(REPOSITORY, "a"), (REPOSITORY, "c")]
    assert str(broken) == world.tag("b")


@pytest.mark.parametrize("refused", ["/v2/demo/app/tags/list", "/v2/demo/app/manifests/v1"])
def test_a_repository_or_tag_that_is_refused_does_not_hide_the_others(world: World, refused: str) -> None:
    world.push("v1", small_image("a"))
    world.push("v1", small_image("b"), repository="other/app")
    world.registry.refused.add(refused)
    assert swept(world) == [("other/app", "v1")]
    assert sweep(world.services)["unreadable"] == 1


def test_a_tag_that_is_answered_against_the_specification_does_not_hide_the_others(world: World) -> None:
    world.push("a", small_image("a"))
    digest = world.push("b", small_image("b"))
    world.registry.manifests[REPOSITORY, str(digest)].media_type = ""
    assert swept(world) == [(REPOSITORY, "a")]


def test_a_registry_or_database_that_is_down_makes_the_sweep_run_later(world: World) -> None:
    world.push("v1", small_image())
    world.registry.down = True
    with pytest.raises(RetryLater):
        sweep(world.services)
    world.registry.down = False
    world.jobs.broken = True
    with pytest.raises(RetryLater):
        sweep(world.services)


def test_the_sweep_is_a_job(world: World) -> None:
    world.push("v1", small_image())
    result = world.run(SweepRequest("by hand").job("x"))
    assert result == {"repositories": 1, "tags": 1, "asked": 1, "unreadable": 0}
    run: Run = FakeRun()
    assert run.job_id == "job-1"


class Clock:
    def __init__(self) -> None:
        self.now_s, self.up = 7200.0, True

    def timer(self, jobs: FakeJobs) -> SweepTimer:
        return SweepTimer(jobs, 3600, lambda: self.up, lambda: self.now_s)


def reasons(jobs: FakeJobs) -> list[str]:
    return [str(job.arguments["reason"]) for job in jobs.jobs.values()]


def test_the_timer_asks_at_each_interval_once_for_all_workers() -> None:
    clock, jobs = Clock(), FakeJobs()
    timers = [clock.timer(jobs), clock.timer(jobs)]
    for clock.now_s in (7200.0, 10799.0, 10801.0, 10802.0, 14400.0):
        for timer in timers:
            timer.turn()
            for job in jobs.jobs:
                jobs.finish(job, {})
    assert reasons(jobs) == ["the interval is over"] * 2


def test_the_timer_asks_when_the_registry_is_back() -> None:
    clock, jobs = Clock(), FakeJobs()
    timer = clock.timer(jobs)
    for clock.up in (True, False, False, True, True):
        timer.turn()
    assert reasons(jobs) == ["the registry is back"]


def test_a_timer_that_cannot_ask_goes_on() -> None:
    clock, jobs = Clock(), FakeJobs()
    jobs.broken = True
    timer = clock.timer(jobs)
    clock.now_s += 3600
    timer.turn()
    jobs.broken = False
    clock.now_s += 3600
    timer.turn()
    assert len(jobs.jobs) == 1


def test_a_worker_that_starts_again_and_again_leaves_one_sweep_waiting() -> None:
    jobs = FakeJobs()
    for _ in range(5):
        timer = Clock().timer(jobs)
        timer.start()
        timer.stop()
    assert reasons(jobs) == ["a worker started"]
    jobs.finish(next(iter(jobs.jobs)), {})
    timer = Clock().timer(jobs)
    timer.start()
    timer.stop()
    assert reasons(jobs) == ["a worker started"] * 2


def test_a_timer_survives_what_it_does_not_expect() -> None:
    looked = Semaphore(0)

    def fault() -> bool:
        looked.release()
        raise RuntimeError("a fault of ours")

    timer = SweepTimer(FakeJobs(), 3600, fault, lambda: 7200.0, probe_s=0.001)
    timer.start()
    assert all(looked.acquire(timeout=5) for _ in range(3))
    timer.stop()
