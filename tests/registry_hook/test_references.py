"""The service with `convert.oci_ref`: images that leave their data in the layers that were pushed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converter.oci import ImageManifest, Reference, media_types
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from registry_hook import spool
from registry_hook.notification import is_artifact_tag
from registry_hook.oneshot import convert_one
from registry_hook.requests import IMAGE, ConversionRequest
from registry_hook.stages.begin import begin_image
from registry_hook.stages.convert import spooled
from registry_hook.transports import open_source
from registry_hook.transports.remote import RegistrySink
from signer.errors import Rule, VerificationError
from signer.report import VerificationReport
from signer.verify import VerificationPolicy, verify_image
from tests.converter.sharing_images import noise
from tests.images.layout import Image, build_image
from tests.images.tar import encode_tar, file
from tests.registry_hook.simulated_registry import SimulatedRegistry
from tests.registry_hook.world import REPOSITORY, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    options = ConvertOptions(oci_ref=True, digester="sha256", threads=1)
    world.services = replace(world.services, options=options)
    return world


def image() -> Image:
    layers = [encode_tar([file(f"f{seed}", noise(seed, 400_000))]) for seed in (1, 2)]
    return build_image([layers[0], layers[1], layers[0]], ["gzip", "zstd", "gzip"])


def verified(world: World, *, deep: bool = True) -> VerificationReport:
    policy = VerificationPolicy(
        keys=(world.services.signer.public_key,), repositories=frozenset({f"registry.test:5000/{REPOSITORY}"})
    )
    return verify_image(world.services.registry, REPOSITORY, "v1-nydus", policy, deep=deep)


def test_a_push_becomes_a_signed_index_of_its_layers(world: World) -> None:
    source = image()
    world.event("v1", world.push("v1", source))
    (found,) = verified(world).images
    base, middle, _ = source.manifest.layers
    assert [layer.digest for layer in found.chunk_manifest.references] == [base.digest]
    made = world.services.registry.manifest(REPOSITORY, "v1-nydus")
    assert isinstance(made, ImageManifest)
    said = [layer.annotations.get(media_types.ANNOTATION_NYDUS_REF) for layer in made.layers]
    assert said == [str(base.digest), None, str(base.digest), None]
    assert made.layers[0].size < base.size / 10
    assert middle.digest not in [layer.digest for layer in made.layers]
    assert found.chunk_manifest.bootstrap.digester == "sha256"


def test_a_copied_source_has_a_tag_that_keeps_it(tmp_path: Path) -> None:
    registry, pushed = SimulatedRegistry(), image()
    pushed.write_layout(tmp_path / "in", "v1")
    sink = RegistrySink(registry.client(), Reference("registry.test", REPOSITORY, "v1-nydus"))
    options = ConvertOptions(oci_ref=True, digester="sha256")
    with open_source(f"oci:{tmp_path}/in:v1", lambda _: registry.client()) as source:
        made = convert_one(source, sink, options, NO_PROGRESS, tmp_path)
    kept = f"sha256-{pushed.manifest.digest.hex}.dh-source"
    assert {tag: digest for (_, tag), digest in registry.tags.items() if "nydus" in tag or "dh-" in tag} == {
        "v1-nydus": str(made.descriptor.digest), kept: str(pushed.manifest.digest),
    }  # fmt: skip
    assert is_artifact_tag(kept)  # so a sweep passes it over


def test_a_flipped_byte_in_a_layer_of_the_source_is_found(world: World) -> None:
    source = image()
    world.event("v1", world.push("v1", source))
    layer = source.manifest.layers[0]
    content = bytearray(source.blobs[layer.digest])
    content[300_000] ^= 1
    world.registry.blobs[REPOSITORY, str(layer.digest)] = bytes(content)
    verified(world, deep=False)
    with pytest.raises(VerificationError, match=layer.digest.hex) as caught:
        verified(world)
    assert caught.value.rule is Rule.CONTENT


def test_the_spool_keeps_what_is_signed(world: World, tmp_path: Path) -> None:
    digest = world.push("v1", image())
    request = ConversionRequest(IMAGE, REPOSITORY, digest, world.services.settings(REPOSITORY))
    begun = begin_image(world.services, request)
    made = spooled(world.services, request, begun, tmp_path / "job")
    assert len(made.references) == made.counts["referenced_layers"] == 1
    assert spool.load(tmp_path / "job") == made
