"""The pipeline over a simulated registry: what is published after which pushes."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from converter.oci import Descriptor, Digest, Platform, encode_json, fallback_tag, media_types
from converter.options import ConvertOptions
from registry_hook import pipeline, sweep
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JobRequest, JsonObject
from registry_hook.requests import IMAGE, ConversionRequest, PublicationRequest
from registry_hook.services import Services
from registry_hook.stages import upload
from registry_hook.stages.convert import spooled
from signer.verify import VerificationPolicy, verify_image
from tests.images.layout import Image, build_image, retyped
from tests.registry_hook.fake_jobs import FakeRun
from tests.registry_hook.world import REPOSITORY, World, small_image


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def verified_source(world: World, tag: str) -> Digest:
    """The source that a converted tag is proven to be made from."""
    policy = VerificationPolicy(
        keys=(world.services.signer.public_key,), repositories=frozenset({f"registry.test:5000/{REPOSITORY}"})
    )
    report = verify_image(world.services.registry, REPOSITORY, tag, policy, deep=True)
    return (report.index or report.images[0]).provenance.source_digest


def conversions(world: World) -> list[str]:
    return [job_id for job_id in world.ran if job_id.startswith(("image-", "index-"))]


def test_a_push_is_converted_signed_and_published(world: World) -> None:
    source = world.push("v1", small_image())
    result = world.event("v1", source)
    assert result == {
        "published": "v1-nydus",
        "digest": world.tag("v1-nydus"),
        "source": str(source),
        "seeded": False,
        "seeding": "0 of 2 blobs seeded; none: not seeded: no engine configured",
    }
    assert verified_source(world, "v1-nydus") == source
    stored = {digest.hex for digest in world.services.store.digests()}
    assert len(stored) == 2
    assert list((world.directory / "spool").iterdir()) == []


def test_a_form_that_is_not_the_default_is_signed_and_verified(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    options = ConvertOptions(
        compressor="lz4_block", digester="sha256", chunk_size=4096, media_types="docker", prefetch=("/app",)
    )
    world.services = replace(world.services, options=options)
    source = world.push("v1", small_image("text" * 5000))
    assert world.event("v1", source)["published"] == "v1-nydus"
    assert verified_source(world, "v1-nydus") == source
    source = world.push_index("multi", index_entries)
    world.event("multi", source)
    assert world.index("multi-nydus").media_type == media_types.DOCKER_INDEX
    assert verified_source(world, "multi-nydus") == source


def test_the_source_is_listed_with_the_converted_image_first(world: World) -> None:
    source = world.push("v1", small_image())
    world.event("v1", source)
    assert [str(entry.digest) for entry in world.index(f"sha256-{source.hex}").manifests] == [
        world.tag("v1-nydus")
    ]


def test_junk_in_the_place_of_the_fallback_index_is_named_and_kept(world: World) -> None:
    source = world.push("v1", small_image())
    junk = encode_json({"schemaVersion": 2, "mediaType": media_types.DOCKER_INDEX, "manifests": []})
    tag = fallback_tag(source)
    world.services.registry.put_manifest(REPOSITORY, tag, junk, media_types.DOCKER_INDEX)
    with pytest.raises(JobFailed, match=f"{REPOSITORY}:{tag}: .* delete the tag"):
        world.event("v1", source)
    assert world.tag(tag) == str(Digest.of(junk))
    assert world.tag("v1-nydus") is None


def test_the_tag_moves_after_everything_it_leads_to(world: World) -> None:
    world.event("v1", world.push("v1", small_image()))
    puts = [path.rpartition("/")[2] for method, path in world.registry.log if method == "PUT"]
    tags = [name for name in puts if not name.startswith("sha256:") and "uploaded" not in name]
    assert tags[-1] == "v1-nydus"
    assert any(name.endswith(".dh-chunks") for name in tags)
    assert any(name.endswith(".sig") for name in tags)


def test_a_second_tag_on_a_digest_is_published_without_converting_again(world: World) -> None:
    source = world.push("v1", small_image())
    world.event("v1", source)
    world.push("v2", small_image())
    world.event("v2", source)
    assert world.tag("v2-nydus") == world.tag("v1-nydus") is not None
    assert len(conversions(world)) == 1


def test_a_b_a_ends_at_a_and_converts_each_once(world: World) -> None:
    first, second = small_image("a"), small_image("b")
    for image in (first, second, first):
        world.event("v1", world.push("v1", image))
    assert verified_source(world, "v1-nydus") == first.manifest.digest
    assert len(conversions(world)) == 2


def test_an_old_event_publishes_what_the_tag_means_now(world: World) -> None:
    old = world.push("v1", small_image("a"))
    new = world.push("v1", small_image("b"))
    world.event("v1", old)
    assert verified_source(world, "v1-nydus") == new


def test_the_event_before_its_tag_is_waited_for(world: World) -> None:
    before = world.push("v1", small_image("a"))
    world.event("v1", before)
    image = small_image("b")
    pushed = world.push(None, image)  # stored, but the tag still shows the old digest
    looks = 0

    def write_the_tag_at_the_third_look(method: str, path: str) -> None:
        nonlocal looks
        if method == "HEAD" and path.endswith("/manifests/v1"):
            looks += 1
            if looks == 3:
                world.push("v1", image)

    world.registry.before = write_the_tag_at_the_third_look
    world.event("v1", pushed)
    assert verified_source(world, "v1-nydus") == pushed


def test_a_tag_that_moves_while_it_is_published_is_published_again(world: World) -> None:
    source = world.push("v1", small_image("a"))
    moved = False

    def move_it_behind_the_put(method: str, path: str) -> None:
        nonlocal moved
        if not moved and world.tag("v1-nydus") is not None:
            moved = True
            world.push("v1", small_image("b"))

    world.registry.before = move_it_behind_the_put
    world.event("v1", source)
    assert verified_source(world, "v1-nydus") == small_image("b").manifest.digest


def test_a_tag_that_moves_while_it_is_converted_is_not_published_with_the_old_image(world: World) -> None:
    source = world.push("v1", small_image("a"))
    published: list[str | None] = []

    def move_it_before_the_publication(method: str, path: str) -> None:
        published.append(world.tag("v1-nydus"))
        if method == "PUT" and path.endswith(".dh-sign"):
            world.push("v1", small_image("b"))

    world.registry.before = move_it_before_the_publication
    world.event("v1", source)
    final = world.tag("v1-nydus")
    assert set(published) <= {None, final}
    assert verified_source(world, "v1-nydus") == small_image("b").manifest.digest


def test_a_tag_that_is_gone_is_waited_for_and_then_dropped(world: World) -> None:
    source = world.push(None, small_image())
    begun_s = world.now_s
    result = world.event("v1", source)
    assert "gone" in str(result["skipped"])
    assert 60 <= world.now_s - begun_s < 62
    assert conversions(world) == []


def test_our_own_products_are_not_converted(world: World) -> None:
    world.event("v1", world.push("v1", small_image()))
    before = world.registry.snapshot()
    converted = Digest.parse(str(world.tag("v1-nydus")))
    assert world.event("v1-nydus", converted) == {
        "skipped": "a Nydus image already", "digest": str(converted),
    }  # fmt: skip
    for repository, tag in list(world.registry.tags):
        assert repository == REPOSITORY
        if tag != "v1":
            assert "skipped" in world.event(tag, None)
    assert world.registry.snapshot() == before


def test_somebody_elses_image_under_our_name_is_left_alone(world: World) -> None:
    theirs = world.push("v1-nydus", small_image("theirs"))
    result = world.event("v1", world.push("v1", small_image()))
    assert "left alone" in str(result["skipped"])
    assert world.tag("v1-nydus") == str(theirs)


def test_an_image_under_a_name_like_ours_is_converted_like_any_other(world: World) -> None:
    source = world.push("my-nydus", small_image())
    world.event("my-nydus", source)
    assert verified_source(world, "my-nydus-nydus") == source


def test_a_tag_too_long_for_our_suffix_is_skipped(world: World) -> None:
    tag = "t" * 123
    result = world.event(tag, world.push(tag, small_image()))
    assert "too long" in str(result["skipped"])


def test_a_conversion_whose_result_was_deleted_is_run_again(world: World) -> None:
    source = world.push("v1", small_image())
    world.event("v1", source)
    converted = str(world.tag("v1-nydus"))
    del world.registry.manifests[REPOSITORY, converted], world.registry.tags[REPOSITORY, "v1-nydus"]
    world.event("v1", source)
    assert world.tag("v1-nydus") == converted
    assert [job_id[-2:] for job_id in conversions(world)] == ["-1", "-2"]


def test_a_repeated_job_writes_what_is_there(world: World) -> None:
    source = world.push("v1", small_image())
    world.event("v1", source)
    before = world.registry.snapshot()
    job = ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY)).job(1)
    pipeline.image(world.services, FakeRun(job.job_id), job.arguments)
    assert world.registry.snapshot() == before


def test_a_conversion_that_is_run_anew_replaces_its_bundles(world: World) -> None:
    source = world.push("v1", small_image())
    world.event("v1", source)
    world.now_s += 3600
    world.run(ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY)).job(2))
    listed = world.index(f"sha256-{Digest.parse(str(world.tag('v1-nydus'))).hex}").manifests
    predicates = [entry.annotations.get("dev.sigstore.bundle.predicateType") for entry in listed]
    assert len(set(predicates)) == len(predicates) == 4, "one bundle for each predicate, and the chunk list"
    assert verified_source(world, "v1-nydus") == source


def entry(descriptor: Descriptor, architecture: str, **more: object) -> dict[str, object]:
    platform = Platform("linux", architecture, "v8" if architecture == "arm64" else None).to_json()
    return descriptor.to_json() | {"platform": platform} | more


@pytest.fixture
def index_entries(world: World) -> list[dict[str, object]]:
    images = [small_image("amd64"), small_image("arm64", "arm64")]
    for image in images:
        world.push(None, image)
    attestation = small_image("attestation")
    world.push(None, attestation)
    unknown = {"os": "unknown", "architecture": "unknown"}
    return [
        entry(images[0].manifest.descriptor, "amd64"),
        attestation.manifest.descriptor.to_json() | {"platform": unknown},
        entry(images[1].manifest.descriptor, "arm64"),
    ]


def test_an_index_becomes_an_index_of_its_converted_images(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    source = world.push_index("multi", index_entries)
    world.event("multi", source)
    made = world.index("multi-nydus")
    assert made.subject is not None
    assert made.subject.digest == source
    assert [str(child.platform) for child in made.manifests] == ["linux/amd64", "linux/arm64/v8"]
    assert verified_source(world, "multi-nydus") == source
    assert len(conversions(world)) == 3
    listed = world.index(f"sha256-{source.hex}").manifests
    assert [child.digest for child in listed] == [made.digest]


def foreign_image() -> Image:
    """An image whose only layer may not be distributed."""
    layer = {"mediaType": media_types.FOREIGN_LAYER_TYPES[-1], "urls": ["https://elsewhere.example/layer"]}
    return retyped(small_image("foreign"), {0: layer})


def test_an_image_that_may_not_be_distributed_is_kept_with_a_note(world: World) -> None:
    result = world.event("v1", world.push("v1", foreign_image()))
    assert str(result["skipped"]).startswith(
        "kept as it is: an image with layers that may not be distributed"
    )
    assert world.tag("v1-nydus") is None


def test_an_index_keeps_what_may_not_be_distributed_and_verifies(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    foreign = foreign_image()
    world.push(None, foreign)
    index_entries.insert(
        1, entry(foreign.manifest.descriptor, "amd64", platform={"os": "windows", "architecture": "amd64"})
    )
    source = world.push_index("multi", index_entries)
    world.event("multi", source)
    children = world.index("multi-nydus").manifests
    assert [str(child.platform) for child in children] == ["linux/amd64", "windows/amd64", "linux/arm64/v8"]
    assert children[1].digest == foreign.manifest.digest
    assert verified_source(world, "multi-nydus") == source


def test_what_may_not_be_distributed_is_converted_when_the_settings_say_so(world: World) -> None:
    world.services = replace(world.services, options=replace(world.services.options, include_foreign=True))
    source = world.push("v1", foreign_image())
    assert world.event("v1", source)["published"] == "v1-nydus"
    assert verified_source(world, "v1-nydus") == source


def test_a_converted_index_is_not_converted(world: World, index_entries: list[dict[str, object]]) -> None:
    world.event("multi", world.push_index("multi", index_entries))
    before = world.registry.snapshot()
    assert "skipped" in world.event("multi-nydus", None)
    assert world.registry.snapshot() == before


def test_a_child_that_was_converted_alone_is_not_converted_again(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    world.event("amd64", world.push("amd64", small_image("amd64")))
    world.event("multi", world.push_index("multi", index_entries))
    assert len([job_id for job_id in conversions(world) if job_id.startswith("image-")]) == 2


def test_an_index_of_thousands_is_refused_before_it_is_followed(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    source = world.push_index("bomb", index_entries * 5000)
    before = len(world.registry.log)
    with pytest.raises(JobFailed, match="10000 images") as caught:
        world.event("bomb", source)
    assert caught.value.bad_input
    assert len(world.registry.log) - before < 20


def test_one_bad_child_fails_the_index_and_publishes_nothing(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    bad = build_image([b"not a tar" * 100])
    world.push(None, bad)
    index_entries.append(entry(bad.manifest.descriptor, "amd64"))
    with pytest.raises(JobFailed) as caught:
        world.event("multi", world.push_index("multi", index_entries))
    assert caught.value.bad_input
    assert world.tag("multi-nydus") is None


@pytest.mark.parametrize("at", ["HEAD", "GET", "PUT", "POST"])
def test_an_outage_at_any_kind_of_request_is_waited_out(world: World, at: str) -> None:
    source = world.push("v1", small_image())
    failures = 0

    def fail_twice(method: str, path: str) -> None:
        nonlocal failures
        world.registry.down = method == at and failures < 2
        failures += world.registry.down

    world.registry.before = fail_twice
    world.event("v1", source)
    assert failures == 2
    assert verified_source(world, "v1-nydus") == source


def test_a_step_after_the_spool_was_lost_makes_the_same_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from registry_hook.stages import upload

    lost: list[Path] = []
    store_blobs = upload.store_blobs

    def lose_the_spool(
        services: Services, request: ConversionRequest, begun: JsonObject, directory: Path
    ) -> JsonObject:
        if not lost:
            lost.append(directory)
            shutil.rmtree(directory)
            directory.mkdir()
        return store_blobs(services, request, begun, directory)

    monkeypatch.setattr(upload, "store_blobs", lose_the_spool)
    source = world.push("v1", small_image())
    world.event("v1", source)
    assert lost
    assert verified_source(world, "v1-nydus") == source


def test_a_disk_that_is_full_when_a_job_begins_is_waited_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Path] = []
    mkdir = Path.mkdir

    def full_at_first(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if path.parent.name == "spool" and not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", full_at_first)
    source = world.push("v1", small_image())
    world.event("v1", source)
    assert refused
    assert verified_source(world, "v1-nydus") == source


def test_a_half_written_spool_is_made_again(world: World) -> None:
    source = world.push("v1", small_image())
    job = ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY)).job(1)
    directory = world.directory / "spool" / job.job_id
    directory.mkdir(parents=True)
    (directory / "image.json").write_text('{"blobs": []}')
    (directory / "rubbish").mkdir()
    world.run(job)
    world.event("v1", source)
    assert verified_source(world, "v1-nydus") == source


def test_leftovers_of_ended_jobs_are_removed(world: World) -> None:
    for name in ("ended", "active"):
        (world.directory / "spool" / name).mkdir(parents=True)
    assert world.services.spool.remove_leftovers(lambda names: {"active"} & set(names)) == 1
    assert [path.name for path in (world.directory / "spool").iterdir()] == ["active"]


def test_what_a_sweep_asks_for_is_converted_behind_what_was_pushed(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    world.push_index("multi", index_entries)
    world.push("old", small_image("old"))
    sweep.sweep(world.services)
    for job in list(world.jobs.jobs.values()):
        world.run(JobRequest(job.kind, job.job_id, job.arguments))
    backlog = {job_id: world.jobs.priorities[job_id] for job_id in world.ran}
    assert len([job_id for job_id in backlog if job_id.startswith("image-")]) == 3
    assert len(backlog) == 6, "two publications, the index, its two images, and one image"
    world.event("new", world.push("new", small_image("new")))
    pushed = {job_id: world.jobs.priorities[job_id] for job_id in world.ran if job_id not in backlog}
    assert [job_id.partition("-")[0] for job_id in pushed] == ["publication", "image"]
    assert max(pushed.values()) < min(backlog.values())


def test_jobs_of_an_older_version_have_the_priority_of_a_push() -> None:
    made = PublicationRequest("a", "b", None, 1.0).job("x")
    assert "priority" not in made.arguments
    assert PublicationRequest.from_json(made.arguments).priority == 0
    assert (
        PublicationRequest.from_json(PublicationRequest("a", "b", None, 1.0, 7).job("x").arguments).priority
        == 7
    )


@pytest.mark.parametrize("wrong", ["the spooled blob", "the blob in the registry"])
def test_a_converted_blob_that_is_damaged_is_not_the_images_fault(
    world: World, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    store_blobs = upload.store_blobs

    def damage(
        services: Services, request: ConversionRequest, begun: JsonObject, directory: Path
    ) -> JsonObject:
        stored = store_blobs(services, request, begun, directory)
        blob = spooled(services, request, begun, directory).blobs[0]
        if wrong == "the spooled blob":
            blob.path.write_bytes(blob.path.read_bytes()[:-1])
        else:
            world.registry.blobs[REPOSITORY, str(blob.descriptor.digest)] = b"x"
        return stored

    monkeypatch.setattr(upload, "store_blobs", damage)
    with pytest.raises(JobFailed, match=r"expected .* bytes, received") as caught:
        world.event("v1", world.push("v1", small_image()))
    assert not caught.value.bad_input
    assert world.tag("v1-nydus") is None


def test_a_merged_index_offers_the_source_and_its_conversion(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    source = world.push("v1", small_image())
    result = world.event("v1", source)
    merged = world.index("v1")
    assert result["merged"] == str(merged.digest) == world.tag("v1")
    assert [str(entry.digest) for entry in merged.manifests] == [str(source), world.tag("v1-nydus")]
    assert [str(entry.platform) for entry in merged.manifests] == ["linux/amd64", "linux/amd64"]
    assert [entry.artifact_type for entry in merged.manifests] == [None, media_types.NYDUS_MANIFEST]
    assert merged.subject is None
    assert verified_source(world, "v1") == source
    # nydus-snapshotter takes what is listed first for the source.
    assert [str(entry.digest) for entry in world.index(f"sha256-{source.hex}").manifests] == [
        world.tag("v1-nydus")
    ]


def test_our_own_merged_index_starts_nothing_new(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    world.event("v1", world.push("v1", small_image()))
    before, jobs = world.registry.snapshot(), len(conversions(world))
    result = world.event("v1", world.index("v1").digest)
    assert result["published"] == "v1-nydus"
    assert (world.registry.snapshot(), len(conversions(world))) == (before, jobs)
    # Switched off again, it is a Nydus image like any other.
    world.services = replace(world.services, merged_index=False)
    assert "skipped" in world.event("v1", None)
    assert world.registry.snapshot() == before


def test_a_push_replaces_a_merged_index(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    world.event("v1", world.push("v1", small_image("old")))
    source = world.push("v1", small_image("new"))
    world.event("v1", source)
    assert world.index("v1").manifests[0].digest == source
    assert verified_source(world, "v1") == verified_source(world, "v1-nydus") == source


def test_a_merged_index_of_an_index_keeps_all_its_entries(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    world.services = replace(world.services, merged_index=True)
    source = world.push_index("multi", index_entries)
    world.event("multi", source)
    merged, made = world.index("multi"), world.index("multi-nydus")
    assert [entry.to_json() for entry in merged.manifests[:3]] == index_entries
    assert [entry.digest for entry in merged.manifests[3:]] == [entry.digest for entry in made.manifests]
    assert [str(entry.platform) for entry in merged.manifests[3:]] == ["linux/amd64", "linux/arm64/v8"]
    assert verified_source(world, "multi") == source


def test_a_tag_that_moves_before_its_merged_index_is_not_overwritten(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    first, second = world.push("v1", small_image("1")), None

    def move_it_behind_the_converted_tag(method: str, path: str) -> None:
        nonlocal second
        if method == "PUT" and path.endswith("/manifests/v1-nydus") and second is None:
            second = world.push("v1", small_image("2"))

    world.registry.before = move_it_behind_the_converted_tag
    world.event("v1", first)
    assert second is not None
    assert world.index("v1").manifests[0].digest == second
    assert verified_source(world, "v1-nydus") == second


def test_an_index_that_names_an_image_twice_verifies(world: World) -> None:
    world.services = replace(world.services, merged_index=True)
    shared, other = small_image("shared"), small_image("other")
    world.push(None, shared)
    world.push(None, other)
    named = [(shared, "arm64"), (other, "amd64"), (shared, "amd64")]
    source = world.push_index("multi", [entry(image.manifest.descriptor, arch) for image, arch in named])
    world.event("multi", source)
    made = world.index("multi-nydus").manifests
    assert [str(child.platform) for child in made] == ["linux/arm64/v8", "linux/amd64", "linux/amd64"]
    assert made[0].digest == made[2].digest != made[1].digest
    assert verified_source(world, "multi-nydus") == verified_source(world, "multi") == source
    (result,) = (job.result for job in world.jobs.jobs.values() if job.kind == "index")
    assert result is not None
    assert (result["images"], result["kept"]) == (3, 0)


def test_an_index_that_contradicts_its_images_is_refused(
    world: World, index_entries: list[dict[str, object]]
) -> None:
    image = small_image("amd64 only")
    world.push(None, image)
    source = world.push_index("multi", [*index_entries, entry(image.manifest.descriptor, "s390x")])
    with pytest.raises(JobFailed, match=r"says linux/s390x.*, its config linux/amd64") as caught:
        world.event("multi", source)
    assert caught.value.bad_input
    assert not [job_id for job_id in conversions(world) if job_id.startswith("image-")]
    assert world.tag("multi-nydus") is None
