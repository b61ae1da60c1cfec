"""The main job with real programs: skopeo pushes, the registry notifies, and a signed image appears."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from converter.chunk_manifest import PREDICATE_CHUNK_MANIFEST
from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.oci import ImageManifest, media_types
from registry_hook.registry import RegistryClient, RegistryEndpoint
from signer.attach import ANNOTATION_BLOB
from signer.keys import SigningKey
from tests.converter.sharing_images import image_of, noise
from tests.peers.programs import ProgramError, run_command
from tests.peers.registries import RegistryKind
from tests.peers.stack import COMMAND, Stack
from tests.peers.tools import (
    cosign_verify,
    cosign_verify_attestation,
    oras_discover,
    oras_pull,
    skopeo_copy,
)
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.world import small_image

pytestmark = pytest.mark.peers


@pytest.fixture(params=list(RegistryKind))
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "stack", request.param) as running:
        yield running


def verify(stack: Stack, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    key = ["--key", str(stack.service.public_key)]
    return subprocess.run(
        [str(COMMAND), "verify", stack.reference(name), *key, *options],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_push_becomes_a_signed_image(stack: Stack, tmp_path: Path) -> None:
    image = small_image("x" * 3_000_000)
    image.write_layout(tmp_path / "image", "v1")
    skopeo_copy(f"oci:{tmp_path}/image:v1", f"docker://{stack.reference('demo/app:v1')}")
    pusher = Pusher(stack.registry.url)
    wait_until(lambda: "v1-nydus" in pusher.tags("demo/app"), 60, "the converted tag")

    told = verify(stack, "demo/app:v1-nydus", "--deep")
    assert told.returncode == 0, told.stderr
    assert f"made from {image.manifest.digest}" in told.stdout
    assert verify(stack, "demo/app:v1").returncode == 3, "the source is not signed"

    # The blobs of the converted image come from the gateway, byte for byte.
    skopeo_copy(f"docker://{stack.reference('demo/app:v1-nydus')}", f"oci:{tmp_path}/pulled:v1")
    blob = image.manifest.layers[0].digest
    redirect = httpx.get(f"{stack.registry.url}/v2/demo/app/blobs/{blob}", trust_env=False)
    assert redirect.status_code == 307
    assert redirect.headers["Location"].startswith(stack.service.gateway_url)

    # Our own pushes come back as events and end without another conversion.
    wait_until(lambda: settled(stack), 30, "the end of all jobs")
    assert [job["kind"] for job in jobs(stack) if job["kind"] in ("image", "index")] == ["image"]
    assert not [tag for tag in pusher.tags("demo/app") if tag.endswith("-nydus-nydus")]
    steps = stack.service.get(f"/v1/jobs/{next(j['id'] for j in jobs(stack) if j['kind'] == 'image')}")[
        "steps"
    ]
    assert [step["name"] for step in steps] == ["begin", "convert", "store", "upload", "sign"]


def test_cosign_and_oras_accept_what_a_push_made(stack: Stack, tmp_path: Path) -> None:
    image = small_image("y" * 3_000_000)
    pusher = Pusher(stack.registry.url)
    pusher.push("demo/app", "v1", image)
    wait_until(lambda: "v1-nydus" in pusher.tags("demo/app"), 60, "the converted tag")
    converted, source = stack.reference("demo/app:v1-nydus"), stack.reference("demo/app:v1")
    key, other = stack.service.public_key, tmp_path / "other.pub"
    other.write_bytes(SigningKey(ec.generate_private_key(ec.SECP256R1())).public_key.pem)

    cosign_verify(converted, key)
    with pytest.raises(ProgramError, match="no matching"):
        cosign_verify(converted, other)
    with pytest.raises(ProgramError, match="no signatures"):
        cosign_verify(source, key)
    for predicate in (PREDICATE_CHUNK_MANIFEST, "slsaprovenance1"):
        cosign_verify_attestation(converted, key, predicate)
        with pytest.raises(ProgramError, match="no matching"):
            cosign_verify_attestation(converted, other, predicate)
        with pytest.raises(ProgramError, match="no matching"):
            cosign_verify_attestation(source, key, predicate)

    lists = [entry for entry in oras_discover(converted) if entry["artifactType"] == media_types.CHUNK_LIST]
    assert len(lists) == 1
    oras_pull(stack.reference(f"demo/app@{lists[0]['digest']}"), tmp_path / "pulled")
    (file,) = (tmp_path / "pulled").glob("*.chunklist")
    with file.open("rb") as stream:
        listed = ChunkListReader(stream).read_all().blob
    assert str(listed) == lists[0]["annotations"][ANNOTATION_BLOB]


def test_what_was_pushed_before_the_service_started_is_found(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack")
    with stack.registry:
        pusher = Pusher(stack.registry.url)
        pusher.push("demo/app", "old", small_image())
        with stack.service:
            wait_until(lambda: "old-nydus" in pusher.tags("demo/app"), 60, "the sweep at the start")
            assert verify(stack, "demo/app:old-nydus").returncode == 0


def test_backfill_asks_for_a_sweep(stack: Stack) -> None:
    job_id = run_command([str(COMMAND), "--config", str(stack.service.config), "backfill"]).strip()
    wait_until(lambda: stack.service.get(f"/v1/jobs/{job_id}")["state"] == "done", 30, "the sweep")


def test_a_second_version_shares_blobs_with_the_first(tmp_path: Path) -> None:
    shared = {"base": noise(1, 900_000)}
    versions = {"v1": image_of(shared, {"app": noise(2, 500_000)}), "v2": image_of(shared, {"new": b"new"})}
    with Stack(tmp_path / "stack", settings={"dedup": {"repositories": ["demo/*"]}}) as stack:
        pusher = Pusher(stack.registry.url)
        client = RegistryClient(RegistryEndpoint(stack.registry.url))
        data = {}
        for tag, image in versions.items():
            pusher.push("demo/app", tag, image)
            wait_until(lambda tag=tag: f"{tag}-nydus" in pusher.tags("demo/app"), 60, tag)  # type: ignore[misc]
            converted = client.manifest("demo/app", f"{tag}-nydus")
            assert isinstance(converted, ImageManifest)
            data[tag] = [layer.digest for layer in converted.layers[:-1]]
        assert [digest in data["v1"] for digest in data["v2"]] == [True, False]
        told = verify(stack, "demo/app:v2-nydus", "--deep")
        assert told.returncode == 0, told.stderr


def jobs(stack: Stack) -> list[dict[str, object]]:
    return list(stack.service.get("/v1/jobs", limit=500)["jobs"])


def settled(stack: Stack) -> bool:
    return all(job["state"] not in ("queued", "running") for job in jobs(stack))
