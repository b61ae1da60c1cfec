"""The images of `docker/Dockerfile`, built and started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartRegistry
from tests.docker.engine import Engine, engine
from tests.peers.server import LOOPBACK, free_port, free_ports

pytestmark = [pytest.mark.peers, pytest.mark.root, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parent.parent.parent
USER = 10001


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("engine")) as this:
        for target in ("service", "gateway"):
            this.build(ROOT, target, f"localhost/dragonhook-{target}")
        yield this


def wait_for(url: str, engine: Engine, container: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer:\n{engine.podman('logs', container)}")


def state_directory(path: Path) -> Path:
    path.mkdir()
    os.chown(path, USER, USER)
    return path


def test_the_service_becomes_ready(images: Engine, start_registry: StartRegistry, tmp_path: Path) -> None:
    web, gateway = (f"{LOOPBACK}:{port}" for port in free_ports(2))
    settings = {
        "DRAGONHOOK_REGISTRY__URL": start_registry().url,
        "DRAGONHOOK_WEB__LISTEN": web,
        "DRAGONHOOK_WEB__TOKEN": "the-token",
        "DRAGONHOOK_GATEWAY__LISTEN": gateway,
        "DRAGONHOOK_GATEWAY__CLOSED_NETWORK": "true",
    }
    state = state_directory(tmp_path / "state")
    with images.run("localhost/dragonhook-service", settings, {state: "/var/lib/dragonhook"}) as container:
        ready = wait_for(f"http://{web}/readyz", images, container)
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert wait_for(f"http://{gateway}/", images, container).status_code < 500
        assert images.podman("exec", container, "id", "-u").strip() == str(USER)
        url = f"http://{web}/v1/events/distribution"
        assert httpx.post(url, json={"events": []}).status_code == 401
        headers = {"Authorization": "Bearer the-token"}
        assert httpx.post(url, json={"events": []}, headers=headers).is_success
    assert {path.stat().st_uid for path in state.rglob("*")} == {USER}


def test_the_gateway_serves_a_registry_s_storage(
    images: Engine, start_registry: StartRegistry, tmp_path: Path
) -> None:
    registry = start_registry()
    start = httpx.post(f"{registry.url}/v2/demo/app/blobs/uploads/")
    digest = "sha256:" + "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of "foo"
    location = httpx.URL(start.headers["Location"]).copy_merge_params({"digest": digest})
    assert httpx.put(location, content=b"foo").status_code == 201

    listen = f"{LOOPBACK}:{free_port()}"
    settings = {
        "DRAGONHOOK_REGISTRY__URL": registry.url,
        "DRAGONHOOK_GATEWAY__LISTEN": listen,
        "DRAGONHOOK_GATEWAY__ORIGIN": "filesystem:/var/lib/registry",
        "DRAGONHOOK_GATEWAY__CLOSED_NETWORK": "true",
    }
    mounts = {
        state_directory(tmp_path / "state"): "/var/lib/dragonhook",
        registry.storage: "/var/lib/registry",
    }
    with images.run("localhost/dragonhook-gateway", settings, mounts) as container:
        path = registry.data_path(digest.removeprefix("sha256:")).relative_to(registry.storage)
        assert wait_for(f"http://{listen}/{path}", images, container).content == b"foo"
        assert images.podman("exec", container, "id", "-u").strip() == str(USER)
