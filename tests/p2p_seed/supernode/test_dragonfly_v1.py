"""The engine for the SuperNode against a real one, 1.0.6."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from converter.oci import Descriptor, Digest
from p2p_seed.origin import OriginUrls
from p2p_seed.supernode.dragonfly_v1 import FILTER, DragonflyV1Engine
from tests.p2p_seed.supernode.contract import SIZE, EngineContract, Rig
from tests.p2p_seed.supernode.real_origin import real_origin
from tests.peers.counted_origin import CountedOrigin
from tests.peers.dragonfly_v1 import DfdaemonV1, Supernode

pytestmark = [pytest.mark.peers, pytest.mark.root]

TIMEOUT_S = 30.0


class SupernodeRig(Rig):
    def __init__(self, directory: Path, origin: CountedOrigin, supernode: Supernode) -> None:
        self.origin = origin
        self.supernode = supernode
        # Neither may fall back, so that what they give came by the SuperNode.
        self.prover = DfdaemonV1(directory / "prover", supernode.host, fall_back=False)
        self.client = DfdaemonV1(directory / "client", supernode.host, fall_back=False)
        self.engine = DragonflyV1Engine(supernode.url, self.prover.url, origin.urls(), TIMEOUT_S)

    def read(self, blob: Descriptor, start: int | None = None, end: int | None = None) -> bytes:
        assert (start, end) == (None, None)
        # A URL with another signature: it does not count.
        return self.client.get(self.origin.urls(lifetime_s=77).url(blob.digest)).content

    def lose(self, blob: Descriptor) -> None:
        self.supernode.drop(self.origin.url_of(blob.digest))

    def unreachable(self) -> DragonflyV1Engine:
        nowhere = "http://127.0.0.1:9"
        return DragonflyV1Engine(nowhere, nowhere, self.origin.urls(), TIMEOUT_S)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupernodeRig]:
    directory = tmp_path_factory.mktemp("supernode")
    origin = CountedOrigin(secret=b"not a secret here")
    with origin.serving(), Supernode(directory) as supernode:
        rig = SupernodeRig(directory, origin, supernode)
        with rig.prover, rig.client:
            yield rig
        rig.engine.close()


class TestSupernode(EngineContract):
    pass


def test_a_range_is_a_task_of_its_own_and_comes_from_the_origin(rig: SupernodeRig) -> None:
    """Why the engine promises no ranges."""
    content = os.urandom(SIZE)
    blob = rig.origin.add(content)
    assert rig.engine.seed(blob).seeded
    before = rig.origin.sent_bytes(blob.digest)
    answer = rig.client.get(rig.origin.urls().url(blob.digest), {"Range": "bytes=1000-1999"})
    assert answer.status_code == 200
    assert answer.content == content[1000:2000]
    assert rig.origin.sent_bytes(blob.digest) - before >= 1000
    assert not rig.engine.capabilities.ranges


def test_what_goes_past_the_supernode_is_no_proof(rig: SupernodeRig, tmp_path: Path) -> None:
    blob = rig.origin.add(os.urandom(SIZE))
    with DfdaemonV1(tmp_path, rig.supernode.host, rules=[]) as careless:
        engine = DragonflyV1Engine(rig.supernode.url, careless.url, rig.origin.urls(), TIMEOUT_S)
        outcome = engine.seed(blob)
        engine.close()
    assert not outcome.seeded
    assert "past the SuperNode" in outcome.reason


def test_a_task_that_expired_is_missed_and_preheated_again(tmp_path: Path) -> None:
    """Its record still says SUCCESS, and a preheat without deleting it first would be refused."""
    origin = CountedOrigin()
    blob = origin.add(os.urandom(SIZE))
    supernode = Supernode(tmp_path, task_expires="2s", collection_interval="1s")
    with origin.serving(), supernode, DfdaemonV1(tmp_path / "peer", supernode.host) as peer:
        engine = DragonflyV1Engine(supernode.url, peer.url, origin.urls(), TIMEOUT_S)
        assert engine.seed(blob).seeded
        deadline_s = time.monotonic() + 20
        while engine.holds(blob):
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        (record,) = supernode.preheats()
        assert record["Status"] == "SUCCESS"
        order = {"type": "file", "url": origin.url_of(blob.digest), "filter": FILTER}
        assert httpx.post(f"{supernode.url}/preheats", json=order, trust_env=False).status_code == 208
        assert engine.seed(blob).seeded
        assert engine.holds(blob)
        # The limit that the module tells of: a copy for each preheat.
        assert len(list((supernode.home / "repo" / "preheat").iterdir())) == 2
        supernode.restart()
        assert not engine.holds(blob)
        assert engine.seed(blob).seeded
        engine.close()


def test_the_real_origin(tmp_path: Path) -> None:
    """The listener of the gateway's process, with URLs that it has to accept."""
    content = os.urandom(SIZE)
    blob = Descriptor("application/octet-stream", Digest.of(content), len(content))
    secret = b"not a secret here"
    supernode = Supernode(tmp_path)
    with (
        real_origin(tmp_path / "origin", content, secret=secret) as origin,
        supernode,
        DfdaemonV1(tmp_path / "peer", supernode.host, fall_back=False) as peer,
    ):
        urls = OriginUrls(origin.url, secret, 60, time.time)
        engine = DragonflyV1Engine(supernode.url, peer.url, urls, TIMEOUT_S)
        outcome = engine.seed(blob)
        assert outcome.seeded, outcome.reason
        origin.forget()
        assert peer.get(urls.url(blob.digest)).content == content
        assert not origin.requests()
        engine.close()


def test_the_id_of_a_task_is_that_of_the_supernode() -> None:
    """The pair was given by a SuperNode 1.0.6."""
    origin = OriginUrls("http://127.0.0.1:28526", b"any secret", 60, time.time)
    engine = DragonflyV1Engine("http://127.0.0.1:9", "http://127.0.0.1:9", origin)
    digest = Digest("12d50499861e6acc2944a2875402a4441eaf69fbf6ed216746bbe514677f0476")
    assert engine.task_id(digest) == "d2f665ff6350a283391197c2a68bcc6b640eee10d8a4636e391b5871e0d10c34"
    engine.close()
