"""Bad images and bad notifications, with a real registry: a reason in one line, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from converter.oci import Descriptor, Digest, encode_json, media_types
from tests.images.layout import build_image, compress
from tests.images.tar import Entry, encode_tar
from tests.peers.stack import Stack
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.world import small_image

pytestmark = pytest.mark.peers

HOOK = "/v1/events/distribution"
EVENTS = "application/vnd.docker.distribution.events.v1+json"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("bad") / "stack", settings={"web": {}}) as running:
        yield running


@pytest.fixture(scope="module")
def pusher(stack: Stack) -> Pusher:
    return Pusher(stack.registry.url)


def tar(name: bytes = b"etc/motd", content: bytes = b"hello" * 2000) -> bytes:
    return encode_tar([Entry(name, content=content)])


def push_layer(
    pusher: Pusher,
    repository: str,
    stored: bytes,
    diff_id: Digest,
    media_type: str = media_types.OCI_LAYER_GZIP,
) -> Digest:
    """Pushes an image of one layer with chosen bytes and diff id under the tag `v1`."""
    config = encode_json(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [str(diff_id)]}}
    )
    layer = Descriptor(media_type, Digest.of(stored), len(stored))
    manifest = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
            "layers": [layer.to_json()],
        }
    )
    pusher.push_blob(repository, Digest.of(config), config)
    pusher.push_blob(repository, layer.digest, stored)
    return pusher.push_manifest(repository, "v1", manifest, media_types.OCI_MANIFEST)


def truncated_gzip(pusher: Pusher, stack: Stack, repository: str) -> None:
    push_layer(pusher, repository, compress(tar(), "gzip")[:-20], Digest.of(tar()))


def wrong_layer_digest(pusher: Pusher, stack: Stack, repository: str) -> None:
    """The registry checked the digest when it was pushed, so its storage has to be damaged afterwards."""
    stored = compress(tar(content=b"will be damaged" * 1000), "gzip")
    pusher.push_blob(repository, Digest.of(stored), stored)
    path = stack.registry.data_path(Digest.of(stored).hex)
    damaged = bytearray(stored)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    push_layer(pusher, repository, stored, Digest.of(tar(content=b"will be damaged" * 1000)))


def wrong_diff_id(pusher: Pusher, stack: Stack, repository: str) -> None:
    push_layer(pusher, repository, compress(tar(), "gzip"), Digest.of(b"another tar"))


def tar_ends_early(pusher: Pusher, stack: Stack, repository: str) -> None:
    short = tar()[:700]
    push_layer(pusher, repository, compress(short, "gzip"), Digest.of(short))


def absolute_path(pusher: Pusher, stack: Stack, repository: str) -> None:
    bad = tar(b"/etc/passwd")
    push_layer(pusher, repository, compress(bad, "gzip"), Digest.of(bad))


def parent_path(pusher: Pusher, stack: Stack, repository: str) -> None:
    bad = tar(b"etc/../../passwd")
    push_layer(pusher, repository, compress(bad, "gzip"), Digest.of(bad))


def unknown_layer_type(pusher: Pusher, stack: Stack, repository: str) -> None:
    push_layer(
        pusher,
        repository,
        compress(tar(), "gzip"),
        Digest.of(tar()),
        "application/vnd.example.layer.v1.magic",
    )


CASES: dict[str, tuple[Callable[[Pusher, Stack, str], None], str]] = {
    "truncated-gzip": (truncated_gzip, "gzip"),
    "wrong-layer-digest": (wrong_layer_digest, "sha256:"),
    "wrong-diff-id": (wrong_diff_id, "the config says"),
    "tar-ends-early": (tar_ends_early, "end"),
    "absolute-path": (absolute_path, "/etc/passwd"),
    "parent-path": (parent_path, ".."),
    "unknown-layer-type": (unknown_layer_type, "application/vnd.example.layer.v1.magic"),
}


def publication(stack: Stack, repository: str) -> dict[str, Any] | None:
    """The publication of the event for a repository's one push, once it has ended."""
    for job in stack.service.get("/v1/jobs", kind="publication", limit=500)["jobs"]:
        if job["arguments"]["repository"] == repository and job["state"] not in ("queued", "running"):
            return dict(job)
    return None


def stored(stack: Stack) -> set[str]:
    return {path.parent.name for path in (stack.service.state / "store").rglob("data")}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_image_is_a_failed_job_with_a_reason_and_leaves_nothing(
    stack: Stack, pusher: Pusher, name: str
) -> None:
    push, reason = CASES[name]
    repository = f"bad/{name}"
    before = stored(stack)
    push(pusher, stack, repository)
    wait_until(lambda: publication(stack, repository) is not None, 60, "the end of the job")
    job = publication(stack, repository)
    assert job is not None
    assert (job["state"], job["bad_input"]) == ("failed", True), job
    assert reason in job["error"]
    assert "\n" not in job["error"]
    assert len(job["error"]) < 400
    assert pusher.tags(repository) == ["v1"]
    revisions = stack.registry.storage / "docker/registry/v2/repositories" / repository
    assert len(list((revisions / "_manifests/revisions/sha256").iterdir())) == 1
    assert stored(stack) == before


def test_an_empty_image_works(stack: Stack, pusher: Pusher) -> None:
    pusher.push("good/no-layers", "v1", build_image([]))
    pusher.push("good/empty-layer", "v1", build_image([encode_tar([])]))
    for repository in ("good/no-layers", "good/empty-layer"):
        wait_until(lambda r=repository: "v1-nydus" in pusher.tags(r), 60, repository)  # type: ignore[misc]


def post(stack: Stack, body: bytes, token: str | None, content_type: str = EVENTS) -> int:
    headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.post(
        f"{stack.service.url}{HOOK}", content=body, headers=headers, trust_env=False
    ).status_code


def token_of(stack: Stack) -> str:
    lines = stack.service.config.read_text().splitlines()
    return str(json.loads(next(line for line in lines if line.startswith("token")).partition("=")[2]))


def test_poison_is_set_aside_and_the_events_behind_it_go_on(stack: Stack, pusher: Pusher) -> None:
    token = token_of(stack)
    poison = [
        b"not json",
        json.dumps({"events": [{"id": "p1", "action": "push", "target": {
            "repository": "poison/app", "tag": "v1", "mediaType": media_types.OCI_MANIFEST,
        }}]}).encode(),
        json.dumps({"events": [{"id": "p2", "action": "teleport", "target": {}}]}).encode(),
    ]  # fmt: skip
    for body in poison:
        assert post(stack, body, token) == 202
    kept = {path.read_bytes() for path in (stack.service.state / "set-aside").iterdir()}
    assert set(poison) <= kept
    assert not [
        job
        for job in stack.service.get("/v1/jobs", kind="publication", limit=500)["jobs"]
        if job["arguments"]["repository"] == "poison/app"
    ]
    pusher.push("good/behind", "v1", small_image("behind"))
    wait_until(lambda: "v1-nydus" in pusher.tags("good/behind"), 60, "the event behind the poison")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_wrong_or_missing_token_is_refused(stack: Stack, token: str | None) -> None:
    assert post(stack, b'{"events": []}', token) == 401
