"""Versions of an image that share blobs, from a push to what is verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converter.oci import Digest, ImageManifest, media_types
from registry_hook.dedup import DedupPolicy
from registry_hook.errors import JobFailed
from registry_hook.requests import IMAGE, ConversionRequest
from registry_hook.stages import upload
from registry_hook.stages.begin import begin_image
from signer.report import VerificationReport
from signer.verify import VerificationPolicy, verify_image
from tests.converter.sharing_images import Files, image_of, noise
from tests.images.layout import Image
from tests.registry_hook.world import REPOSITORY, World, small_image

BASE: Files = {"base": noise(1, 300_000)}
APP: Files = {"app/a": noise(2, 200_000), "app/b": noise(3, 100_000)}
CHANGED: Files = APP | {"app/b": noise(4, 50_000)}


def sharing(world: World, **policy: int) -> World:
    """The world with sharing switched on for its repository."""
    world.services = replace(world.services, dedup=DedupPolicy(("demo/*",), **policy))
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sharing(World(tmp_path))


def publish(world: World, tag: str, image: Image) -> ImageManifest:
    """Pushes an image and gives the manifest of its conversion."""
    source = world.push(tag, image)
    world.event(tag, source)
    manifest = world.services.registry.manifest(REPOSITORY, f"{tag}-nydus")
    assert isinstance(manifest, ImageManifest)
    return manifest


def verified(world: World, tag: str) -> VerificationReport:
    """A verification of every byte of a converted tag."""
    policy = VerificationPolicy(
        keys=(world.services.signer.public_key,), repositories=frozenset({f"registry.test:5000/{REPOSITORY}"})
    )
    return verify_image(world.services.registry, REPOSITORY, tag, policy, deep=True)


def data(manifest: ImageManifest) -> list[Digest]:
    return [layer.digest for layer in manifest.layers[:-1]]


def begun(world: World, source: Digest) -> object:
    """What a new run of a conversion would pin."""
    request = ConversionRequest(IMAGE, REPOSITORY, source, world.services.settings(REPOSITORY))
    return begin_image(world.services, request).get("dictionary")


def test_a_new_version_shares_blobs_with_the_one_before(world: World) -> None:
    v1 = publish(world, "v1", image_of(BASE, APP))
    v2 = publish(world, "v2", image_of(BASE, CHANGED))
    base, app = data(v1)
    assert [digest == base for digest in data(v2)] == [True, False, False]
    assert data(v2)[2] == app
    assert v2.layers[1].size < 70_000
    assert v2.annotations[media_types.ANNOTATION_DICTIONARY] == str(v1.digest)


def test_borrowed_blobs_are_verified_and_signed_like_others(world: World) -> None:
    publish(world, "v1", image_of(BASE, APP))
    v2 = publish(world, "v2", image_of(BASE, CHANGED))
    (image,) = verified(world, "v2-nydus").images
    assert [blob.digest for blob in image.chunk_manifest.blobs] == data(v2)
    world.registry.blobs[REPOSITORY, str(data(v2)[2])] = bytes(v2.layers[2].size)
    with pytest.raises(Exception, match=data(v2)[2].hex):
        verified(world, "v2-nydus")


def test_the_provenance_names_the_dictionary(world: World) -> None:
    v1 = publish(world, "v1", image_of(BASE, APP))
    publish(world, "v2", image_of(BASE, CHANGED))
    assert [verified(world, tag).images[0].provenance.dictionary for tag in ("v1-nydus", "v2-nydus")] == [
        (),
        (v1.digest,),
    ]


def test_nothing_is_shared_unless_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    publish(world, "v1", image_of(BASE, APP))
    v2 = publish(world, "v2", image_of(BASE, CHANGED))
    assert len(data(v2)) == 2
    assert media_types.ANNOTATION_DICTIONARY not in v2.annotations


def test_the_policy_is_part_of_what_names_a_conversion(world: World) -> None:
    plain = replace(world.services, dedup=DedupPolicy())
    assert world.services.settings("demo/x") != plain.settings("demo/x")
    assert world.services.settings("other/x") == plain.settings("other/x")
    more = replace(world.services, dedup=DedupPolicy(("demo/*",), versions=2))
    assert more.settings("demo/x") != world.services.settings("demo/x")


def test_a_digest_is_converted_once_whatever_came_later(world: World) -> None:
    """The dictionary belongs to the run: a second tag must not give a second conversion."""
    publish(world, "v1", image_of(BASE, APP))
    v2 = publish(world, "v2", image_of(BASE, CHANGED))
    publish(world, "v3", image_of(BASE, CHANGED | {"x": b"x"}))
    again = publish(world, "also-v2", image_of(BASE, CHANGED))
    assert again.digest == v2.digest


def test_the_version_with_most_in_common_lends(world: World) -> None:
    v1 = publish(world, "app-1", image_of(BASE, APP))
    publish(world, "tool-1", image_of({"tool": noise(9, 400_000)}))
    assert begun(world, world.push("app-2", image_of(BASE, CHANGED))) == [str(v1.digest)]


def test_several_versions_may_lend(world: World) -> None:
    first = publish(world, "v1", image_of({"a": noise(11, 50_000)}))
    second = publish(world, "v2", image_of({"b": noise(12, 50_000)}))
    sharing(world, versions=2)
    v3 = publish(world, "v3", image_of({"a": noise(11, 50_000), "b": noise(12, 50_000)}))
    assert set(data(first) + data(second)) < set(data(v3))
    assert v3.layers[0].size < 5_000


def test_images_compressed_otherwise_do_not_lend(world: World) -> None:
    publish(world, "v1", image_of(BASE, APP))
    world.services = replace(world.services, options=replace(world.services.options, compressor="lz4_block"))
    assert begun(world, world.push("v2", image_of(BASE, CHANGED))) == []


def test_other_platforms_do_not_lend(world: World) -> None:
    publish(world, "arm", small_image("x" * 90_000, "arm64"))
    assert begun(world, world.push("amd", small_image("x" * 90_000 + "y"))) == []


def test_an_image_that_our_key_does_not_vouch_for_does_not_lend(world: World) -> None:
    v1 = publish(world, "v1", image_of(BASE, APP))
    source = world.push("v2", image_of(BASE, CHANGED))
    assert begun(world, source) == [str(v1.digest)]
    for tag in [tag for _, tag in world.registry.tags if tag.startswith(f"sha256-{v1.digest.hex}")]:
        del world.registry.tags[REPOSITORY, tag]
    assert begun(world, source) == []


def test_a_version_that_is_gone_does_not_lend(world: World) -> None:
    v1 = publish(world, "v1", image_of(BASE, APP))
    source = world.push("v2", image_of(BASE, CHANGED))
    del world.registry.manifests[REPOSITORY, str(v1.digest)]
    assert begun(world, source) == []


def test_a_borrowed_blob_that_goes_meanwhile_fails_the_run_and_no_later_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1 = publish(world, "v1", image_of(BASE, APP))
    store_blobs = upload.store_blobs

    def and_then_it_is_deleted(*arguments: object) -> object:
        stored = store_blobs(*arguments)  # type: ignore[arg-type]  # as the pipeline gives them
        world.registry.blobs.pop((REPOSITORY, str(data(v1)[1])), None)
        world.registry.manifests.pop((REPOSITORY, str(v1.digest)), None)
        return stored

    monkeypatch.setattr(upload, "store_blobs", and_then_it_is_deleted)
    source = world.push("v2", image_of(BASE, CHANGED))
    with pytest.raises(JobFailed, match=f"{data(v1)[1]}, which is borrowed, is gone") as caught:
        world.event("v2", source)
    assert not caught.value.bad_input
    monkeypatch.undo()
    v2 = publish(world, "v2", image_of(BASE, CHANGED))
    assert len(data(v2)) == 2
