"""One tag for an image and its conversion, with real programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from converter.oci import Digest, ImageIndex, parse_manifest
from tests.peers.programs import run_command
from tests.peers.registries import RegistryKind
from tests.peers.stack import COMMAND, Stack
from tests.peers.tools import cosign_verify, skopeo_copy
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.test_end_to_end import jobs, settled
from tests.registry_hook.world import small_image

pytestmark = pytest.mark.peers


@pytest.fixture(params=[pytest.param(RegistryKind.V2, marks=pytest.mark.full), RegistryKind.V3])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack", request.param, {"publish": {"merged_index": True}}) as running:
        yield running


def tag(stack: Stack, name: str) -> bytes:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    url = f"{stack.registry.url}/v2/demo/app/manifests/{name}"
    return httpx.get(url, headers={"Accept": accept}, trust_env=False).content


def offered(stack: Stack, name: str) -> list[Digest]:
    """What an index under a tag lists, or nothing if there is an image."""
    found = parse_manifest(tag(stack, name))
    return [entry.digest for entry in found.manifests] if isinstance(found, ImageIndex) else []


def test_a_tag_offers_both(stack: Stack, tmp_path: Path) -> None:
    pusher = Pusher(stack.registry.url)
    for content in ("first", "second"):
        image = small_image(content)
        image.write_layout(tmp_path / content, "v1")
        skopeo_copy(f"oci:{tmp_path}/{content}:v1", f"docker://{stack.reference('demo/app:v1')}")
        wait_until(lambda: image.manifest.digest in offered(stack, "v1"), 60, "the merged index")  # noqa: B023
        converted = Digest.of(tag(stack, "v1-nydus"))
        assert offered(stack, "v1") == [image.manifest.digest, converted]
        told = subprocess.run(
            [str(COMMAND), "verify", stack.reference("demo/app:v1"), "--deep",
             "--key", str(stack.service.public_key)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        assert f"image {converted}, made from {image.manifest.digest}" in told.stdout
        cosign_verify(stack.reference("demo/app:v1"), stack.service.public_key)
        # A client that knows nothing of Nydus gets what was pushed.
        skopeo_copy(f"docker://{stack.reference('demo/app:v1')}", f"oci:{tmp_path}/pulled-{content}:v1")
        pulled = json.loads((tmp_path / f"pulled-{content}/index.json").read_bytes())["manifests"]
        assert [entry["digest"] for entry in pulled] == [str(image.manifest.digest)]
    wait_until(lambda: settled(stack), 30, "the end of all jobs")
    assert [job["kind"] for job in jobs(stack) if job["kind"] in ("image", "index")] == ["image"] * 2
    assert {name for name in pusher.tags("demo/app") if "sha256-" not in name} == {"v1", "v1-nydus"}
    # The documented repair of what somebody deleted.
    lost = Digest.of(tag(stack, "v1-nydus"))
    url = f"{stack.registry.url}/v2/demo/app/manifests/{lost}"
    assert httpx.delete(url, trust_env=False).status_code == 202
    run_command([str(COMMAND), "--config", str(stack.service.config), "backfill"])
    wait_until(lambda: "v1-nydus" in pusher.tags("demo/app"), 30, "the repair")
    wait_until(lambda: settled(stack), 30, "the end of all jobs")
    assert offered(stack, "v1") == [image.manifest.digest, Digest.of(tag(stack, "v1-nydus"))]
    skopeo_copy(f"docker://{stack.reference('demo/app:v1-nydus')}", f"oci:{tmp_path}/repaired")
