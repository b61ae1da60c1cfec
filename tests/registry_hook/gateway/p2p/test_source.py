"""What clients get through peers that work and peers that do not: always the right bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from p2p_seed.errors import StoreUnavailableError
from p2p_seed.origin import check_origin_query
from tests.registry_hook.gateway.p2p.fake_peer import FakePeer
from tests.registry_hook.gateway.p2p.site import ORIGIN, SECRET, FakeEngine, gateway, with_list
from tests.registry_hook.gateway.running import FakeSource, ask, blob_path

CONTENT = random.Random(5).randbytes(12_345_678)
DIGEST = Digest.of(CONTENT)
BLOBS = {DIGEST: CONTENT}
PATH = blob_path(DIGEST)
# Odd lengths, so that ranges begin and end inside pieces, and steps of a read end where pieces do.
PIECES = (5, 70_000, 1, 2_000_000, 300_001)
RANGES = [
    (0, 1),
    (4, 6),
    (0, len(CONTENT)),
    (70_004, 70_006),
    (1_000_000, 9_000_000),
    (12_345_677, 12_345_678),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    with_list(tmp_path / "store", CONTENT, PIECES)
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are for real networks."""
    for name in ("source.PART_PATIENCE_S", "source.WHOLE_PATIENCE_S", "parts.PATIENCE_S", "fills.PATIENCE_S"):
        monkeypatch.setattr(f"registry_hook.gateway.p2p.{name}", 0.8)


@pytest.fixture
def peer() -> Iterator[FakePeer]:
    with FakePeer(BLOBS) as running:
        yield running


def part(start: int, end: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{end - 1}"}


@pytest.mark.parametrize("cache_bytes", [64 << 20, 0])
def test_everything_comes_from_the_peer(root: Path, peer: FakePeer, cache_bytes: int) -> None:
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store], cache_bytes=cache_bytes) as url:
        for start, end in RANGES:
            assert ask(url, PATH, **part(start, end)).body == CONTENT[start:end]
        whole = ask(url, PATH)
        assert (whole.status, whole.body) == (200, CONTENT)
        assert whole.headers["Docker-Content-Digest"] == str(DIGEST)
        assert ask(url, PATH, Range="bytes=99999999-").status == 416
    assert store.opened == 0


def test_what_the_peer_is_asked(root: Path, peer: FakePeer) -> None:
    with gateway(root, [peer], [FakeSource("store")]) as url:
        ask(url, PATH, Authorization="Bearer secret", Cookie="a=b", **part(0, 10))
    [request] = peer.requests
    path, _, query = request.target.partition("?")
    assert path == f"/v2/_/blobs/{DIGEST}"
    check_origin_query(DIGEST, dict(item.split("=", 1) for item in query.split("&")), SECRET, time.time())
    assert request.headers["X-Dragonfly-Registry"] == ORIGIN
    assert request.headers["X-Dragonfly-Use-P2P"] == "true"
    assert request.headers["X-Dragonfly-Enable-Task-ID-Based-Blob-Digest"] == "true"
    assert request.headers["X-Dragonfly-Scheduling-Policy"] == "always"
    assert request.range == "bytes=0-70004"  # The pieces that it touches.
    assert not {"Authorization", "Cookie"} & set(request.headers)


def test_blobs_that_a_manager_seeded_are_asked_for_by_their_url(root: Path, peer: FakePeer) -> None:
    with gateway(root, [peer], [FakeSource("store")], by_digest=False) as url:
        ask(url, PATH, **part(0, 10))
    [request] = peer.requests
    assert request.headers["X-Dragonfly-Enable-Task-ID-Based-Blob-Digest"] == "false"


def test_a_push_does_not_ask_peers(root: Path, peer: FakePeer) -> None:
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url:
        assert ask(url, PATH, "HEAD").headers["Content-Length"] == str(len(CONTENT))
        assert ask(url, blob_path(Digest.of(b"x")), "HEAD").status == 404
    assert peer.requests == []


def test_one_read_of_a_whole_blob_serves_all(root: Path, peer: FakePeer) -> None:
    peer.bytes_per_s = 20_000_000
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url, ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(ask, url, PATH) for _ in range(8)]
        assert all(reply.result().body == CONTENT for reply in replies)
        peer.kill()
        assert ask(url, PATH).body == CONTENT  # It is still there.
        assert ask(url, PATH, **part(5, 5_000_000)).body == CONTENT[5:5_000_000]
    assert len(peer.requests) == 1
    assert store.opened == 0


def test_one_read_of_a_part_serves_all_who_want_it_meanwhile(root: Path, peer: FakePeer) -> None:
    peer.bytes_per_s = 4_000_000
    with gateway(root, [peer], [FakeSource("store")]) as url, ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(ask, url, PATH, **part(100_000, 1_000_000)) for _ in range(8)]
        assert all(reply.result().body == CONTENT[100_000:1_000_000] for reply in replies)
        assert len(peer.requests) == 1
        ask(url, PATH, **part(100_000, 1_000_000))
        assert len(peer.requests) == 2  # Parts are not kept.


FAULTS: dict[str, dict[str, Any]] = {
    "nothing comes": {"hangs": True},
    "its own error": {"status": 500},
    "no space": {"status": 507},
    "the origin's error": {"status": 503, "error_type": "backend"},
    "not at the origin": {"blobs": {}},
    "too many requests": {"status": 429, "error_type": "proxy"},
    "broken off at once": {"cut_at": 0},
    "broken off in the middle": {"cut_at": 5_000_000},
    "stalled at once": {"stalls_at": 0},
    "stalled in the middle": {"stalls_at": 5_000_000},
    "wrong first byte": {"flip_at": 0},
    "wrong byte in the middle": {"flip_at": 5_000_000},
    "wrong last byte": {"flip_at": len(CONTENT) - 1},
    "everything for a part": {"ignores_range": True},
    "another length": {"claims": len(CONTENT) + 1},
}


@pytest.mark.parametrize("cache_bytes", [64 << 20, 0])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_store_goes_on_where_a_peer_fails(
    fault: str, cache_bytes: int, root: Path, peer: FakePeer
) -> None:
    for name, value in FAULTS[fault].items():
        setattr(peer, name, value)
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store], cache_bytes=cache_bytes) as url, ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        whole = [pool.submit(ask, url, PATH) for _ in range(3)]
        parts = [pool.submit(ask, url, PATH, **part(start, end)) for start, end in RANGES[1:]]
        assert all(reply.result().body == CONTENT for reply in whole)
        for reply, (start, end) in zip(parts, RANGES[1:], strict=True):
            assert reply.result().body == CONTENT[start:end]
        assert time.monotonic() - began < 4
        # Whoever comes later is not held up at all.
        began, asked = time.monotonic(), len(peer.requests)
        assert ask(url, PATH).body == CONTENT
        assert time.monotonic() - began < 0.5
        assert len(peer.requests) == asked
    assert store.opened == store.closed


def test_the_store_takes_over_at_the_very_byte(root: Path, peer: FakePeer) -> None:
    peer.cut_at = 5_000_000
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url:
        assert ask(url, PATH).body == CONTENT
    [(start, length)] = store.ranges
    assert start + length == len(CONTENT)
    assert 4_000_000 < start <= 5_000_000  # What was proven before was not sent twice, nor the rest lost.


@pytest.mark.parametrize("cache_bytes", [64 << 20, 0])
def test_wrong_bytes_are_an_alarm(root: Path, peer: FakePeer, cache_bytes: int) -> None:
    peer.flip_at = 2_000_000
    engine, other = FakeEngine(), random.Random(6).randbytes(100_000)
    with_list(root, other)
    peer.blobs = {**BLOBS, Digest.of(other): other}
    store = FakeSource("store", peer.blobs)
    with (
        capture_logs() as logs,
        gateway(root, [peer], [store], engine=engine, cache_bytes=cache_bytes) as url,
    ):
        assert ask(url, PATH, **part(1_900_000, 2_100_000)).body == CONTENT[1_900_000:2_100_000]
        # The peer is out, for other blobs too.
        assert ask(url, blob_path(Digest.of(other))).body == other
        assert len(peer.requests) == 1
        assert engine.asked.wait(5)
    assert (engine.forgotten, engine.seeded, engine.closed) == ([DIGEST], [DIGEST], True)
    [alarm] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (alarm["peer"], alarm["digest"]) == (peer.grpc, str(DIGEST))


def test_a_blob_that_its_peer_did_not_hold_is_seeded_again_once(root: Path, peer: FakePeer) -> None:
    peer.held = False
    engine = FakeEngine()
    with gateway(root, [peer], [FakeSource("store")], engine=engine) as url:
        for start in range(0, 1_000_000, 100_000):
            assert ask(url, PATH, **part(start, start + 10)).status == 206
        assert engine.asked.wait(5)
    assert (engine.seeded, engine.forgotten) == ([DIGEST], [])


def test_a_blob_that_its_peer_holds_is_left_alone(root: Path, peer: FakePeer) -> None:
    engine = FakeEngine()
    with gateway(root, [peer], [FakeSource("store")], engine=engine) as url:
        assert ask(url, PATH).body == CONTENT
    assert engine.seeded == []


def test_another_peer_goes_on(root: Path) -> None:
    store = FakeSource("store", BLOBS)
    with FakePeer(BLOBS) as one, FakePeer(BLOBS) as other:
        peers = [one, other]
        with gateway(root, peers, [store]) as url:
            ask(url, PATH, **part(0, 10))
            first, second = sorted(peers, key=lambda peer: -len(peer.requests))
            assert (len(first.requests), len(second.requests)) == (1, 0)
            first.cut_at = 7_000_000
            assert ask(url, PATH).body == CONTENT
            [request] = second.requests
            assert request.range is not None
            assert request.range.startswith("bytes=6") or request.range.startswith("bytes=5")
            first.kill()
            assert ask(url, PATH, **part(0, 10)).body == CONTENT[:10]
    assert store.opened == 0


def test_blobs_spread_over_peers_and_stay_there(root: Path) -> None:
    blobs = {Digest.of(content): content for content in (bytes([n]) * 1000 for n in range(24))}
    for content in blobs.values():
        with_list(root, content)
    with (
        FakePeer(blobs, grpc="a:1") as one,
        FakePeer(blobs, grpc="b:1") as other,
        gateway(root, [one, other], [FakeSource("store")], cache_bytes=0) as url,
    ):
        for digest in [*blobs, *blobs]:
            assert ask(url, blob_path(digest)).body == blobs[digest]
    for peer in (one, other):
        paths = [request.target.partition("?")[0] for request in peer.requests]
        assert len(paths) == 2 * len(set(paths))
        assert 3 <= len(set(paths)) <= 21


def test_peers_that_are_gone_hold_nobody_up(root: Path, peer: FakePeer) -> None:
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url:
        peer.kill()
        began = time.monotonic()
        for _ in range(20):
            assert ask(url, PATH, **part(0, 10)).body == CONTENT[:10]
        assert time.monotonic() - began < 2


def test_a_peer_that_is_killed_under_eight_clients(root: Path, peer: FakePeer) -> None:
    peer.bytes_per_s = 10_000_000
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url, ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(ask, url, PATH) for _ in range(4)]
        replies += [pool.submit(ask, url, PATH, Range="bytes=100-") for _ in range(4)]
        time.sleep(0.5)
        peer.kill()
        for reply in replies:
            assert reply.result().body in (CONTENT, CONTENT[100:])
    assert store.ranges


def test_a_peer_that_is_back_is_asked_again(
    root: Path, peer: FakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_hook.gateway.p2p.reads.REST_S", 0.3)
    monkeypatch.setattr("registry_hook.gateway.p2p.peers.SPARED_S", 0.3)
    peer.status = 500
    store = FakeSource("store", BLOBS)
    with gateway(root, [peer], [store]) as url:
        assert ask(url, PATH).body == CONTENT
        peer.status = None
        time.sleep(0.4)
        opened = store.opened
        assert ask(url, PATH).body == CONTENT
        assert store.opened == opened


def test_lists_that_cannot_be_read_leave_everything_to_the_stores(
    root: Path, peer: FakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise StoreUnavailableError("down")

    monkeypatch.setattr("p2p_seed.store.chunk_lists.DirectoryChunkLists.get", fail)
    with gateway(root, [peer], [FakeSource("registry", BLOBS)]) as url:
        assert ask(url, PATH).body == CONTENT
    assert peer.requests == []


def test_a_list_that_is_spoilt_or_another_blobs(root: Path, peer: FakePeer) -> None:
    lists = sorted((root / "dragonhook").rglob("*"))
    path = next(path for path in lists if path.is_file())
    for spoilt in (
        b"",
        path.read_bytes()[:-1],
        path.read_bytes().replace(bytes.fromhex(DIGEST.hex), bytes(32)),
    ):
        path.write_bytes(spoilt)
        with gateway(root, [peer], [FakeSource("store", BLOBS)]) as url:
            assert ask(url, PATH, **part(3, 70_006)).body == CONTENT[3:70_006]


SMALL = random.Random(7).randbytes(3_000_000)
SMALL_PATH = blob_path(Digest.of(SMALL))


def test_a_blob_without_a_list_is_hashed_first(root: Path, peer: FakePeer) -> None:
    peer.blobs = {Digest.of(SMALL): SMALL}
    store = FakeSource("store")
    with gateway(root, [peer], [store]) as url, ThreadPoolExecutor(4) as pool:
        replies = [pool.submit(ask, url, SMALL_PATH) for _ in range(4)]
        assert all(reply.result().body == SMALL for reply in replies)
        assert ask(url, SMALL_PATH, **part(10, 2_000_000)).body == SMALL[10:2_000_000]
    assert len(peer.requests) == 1
    assert peer.requests[0].range is None
    assert store.opened == 0


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "everything for a part"])
def test_a_blob_without_a_list_that_does_not_come(fault: str, root: Path, peer: FakePeer) -> None:
    peer.blobs = {Digest.of(SMALL): SMALL}
    for name, value in FAULTS[fault].items():
        setattr(peer, name, value % len(SMALL) if name in ("cut_at", "flip_at", "stalls_at") else value)
    engine, store = FakeEngine(), FakeSource("store", {Digest.of(SMALL): SMALL})
    with gateway(root, [peer], [store], engine=engine) as url:
        began = time.monotonic()
        assert ask(url, SMALL_PATH).body == SMALL
        assert ask(url, SMALL_PATH, **part(10, 2_000_000)).body == SMALL[10:2_000_000]
        assert time.monotonic() - began < 3
        assert len(peer.requests) == 1
    assert engine.forgotten == ([Digest.of(SMALL)] if "wrong" in fault else [])


def test_a_long_blob_without_a_list_is_left_to_the_store(
    root: Path, peer: FakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_hook.gateway.p2p.fills.UNLISTED_MOST_BYTES", 2_999_999)
    # Slow, or all of it would be in the sockets before the gateway has hung up.
    peer.blobs, peer.bytes_per_s = {Digest.of(SMALL): SMALL}, 5_000_000
    with gateway(root, [peer], [FakeSource("store", peer.blobs)]) as url:
        for _ in range(3):
            assert ask(url, SMALL_PATH).body == SMALL
    assert len(peer.requests) == 1
    assert peer.sent_bytes < len(SMALL)


def test_a_slow_blob_without_a_list_is_there_for_the_next(root: Path, peer: FakePeer) -> None:
    peer.blobs, peer.bytes_per_s = {Digest.of(SMALL): SMALL}, 2_000_000
    store = FakeSource("store", peer.blobs)
    with gateway(root, [peer], [store]) as url:
        assert ask(url, SMALL_PATH).body == SMALL
        assert store.opened == 1
        time.sleep(1.5)
        assert ask(url, SMALL_PATH).body == SMALL
        assert store.opened == 1
    assert len(peer.requests) == 1


def test_the_cache_keeps_to_its_size(root: Path) -> None:
    contents = [random.Random(n).randbytes(250_000) for n in range(8)]
    blobs = {Digest.of(content): content for content in contents}
    for content in contents:
        with_list(root, content, (100_000,))
    with FakePeer(blobs) as peer, gateway(root, [peer], [FakeSource("store")], cache_bytes=1_000_000) as url:
        for content in contents:
            assert ask(url, blob_path(Digest.of(content))).body == content
        assert len(peer.requests) == 8
        assert ask(url, blob_path(Digest.of(contents[-1]))).body == contents[-1]
        assert len(peer.requests) == 8
        assert ask(url, blob_path(Digest.of(contents[0]))).body == contents[0]
        assert len(peer.requests) == 9
        metrics = ask(url, "/healthz").status
        assert metrics == 200
    assert list((root / "cache").iterdir()) == []


def test_a_blob_larger_than_its_share_of_the_cache_is_passed_on(root: Path, peer: FakePeer) -> None:
    store = FakeSource("store")
    with gateway(root, [peer], [store], cache_bytes=4_000_000) as url:
        assert ask(url, PATH).body == CONTENT
        assert ask(url, PATH).body == CONTENT
    assert len(peer.requests) == 2
    assert store.opened == 0
