"""The small set of Dragonfly, as other tests start it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from converter.oci import Digest
from tests.conftest import StartRegistry
from tests.converter.sharing_images import noise
from tests.peers.dragonfly import Dfdaemon, Scheduler, SmallSet
from tests.peers.fault_proxy import FaultProxy
from tests.registry_hook.peer_images import Pusher

BLOB = noise(1, 9_000_000)
PATH = f"/v2/test/blobs/{Digest.of(BLOB)}"
ALWAYS = {"X-Dragonfly-Scheduling-Policy": "always"}


@pytest.mark.peers
def test_a_scheduler_starts_and_comes_back(tmp_path: Path) -> None:
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.is_ready()
        scheduler.kill()
        assert not scheduler.is_ready()
        scheduler.start()
        assert scheduler.is_ready()


@pytest.fixture
def origin(start_registry: StartRegistry) -> Iterator[FaultProxy]:
    registry = start_registry()
    Pusher(registry.url).push_blob("test", Digest.of(BLOB), BLOB)
    with FaultProxy(registry.url) as proxy:
        yield proxy


def read(daemon: Dfdaemon, **headers: str) -> bytes:
    answer = httpx.get(daemon.proxy_url + PATH, headers={**ALWAYS, **headers}, timeout=30, trust_env=False)
    return answer.raise_for_status().content


@pytest.mark.interop
def test_blobs_come_from_the_origin_once(origin: FaultProxy, tmp_path: Path) -> None:
    with SmallSet(tmp_path, seeds=1, peers=1, upstream=origin.url) as dragonfly:
        [seed], [peer] = dragonfly.seeds, dragonfly.peers
        assert read(seed) == BLOB
        assert origin.body_bytes(PATH) <= len(BLOB) + 1
        origin.forget()
        assert read(peer, Range="bytes=5000000-5000999") == BLOB[5_000_000:5_001_000]
        assert read(peer) == BLOB
        assert origin.body_bytes() <= 2, "only the first byte, to see whether it is there and may be read"
        assert seed.holds(Digest.of(BLOB).hex)
        seed.forget(Digest.of(BLOB).hex)
        assert not seed.holds(Digest.of(BLOB).hex)
        assert peer.holds(Digest.of(BLOB).hex)


@pytest.mark.interop
@pytest.mark.parametrize("same_ports", [False, True])
def test_a_peer_that_was_killed_comes_back(origin: FaultProxy, tmp_path: Path, same_ports: bool) -> None:
    with SmallSet(tmp_path, seeds=1, upstream=origin.url) as dragonfly:
        [seed] = dragonfly.seeds
        assert read(seed) == BLOB
        before = seed.proxy_url
        seed.kill()
        with pytest.raises(httpx.ConnectError):
            read(seed)
        started = time.monotonic()
        seed.restart(same_ports=same_ports)
        print(f"back after {time.monotonic() - started:.1f} s")
        assert (seed.proxy_url == before) == same_ports
        assert read(seed) == BLOB
