"""The engine for Kraken against a real origin, tracker and agents, 0.1.4."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from converter.oci import Descriptor, Digest
from p2p_seed.errors import EngineUnavailableError
from p2p_seed.store import open_store
from p2p_seed.supernode.kraken import KrakenEngine
from tests.p2p_seed.store.backends import access_to, new_bucket
from tests.p2p_seed.supernode.contract import SIZE, EngineContract, Rig
from tests.p2p_seed.supernode.real_origin import real_origin
from tests.peers.counted_origin import CountedOrigin
from tests.peers.kraken import NAMESPACE, Kraken
from tests.peers.s3 import S3Server

pytestmark = pytest.mark.peers

TIMEOUT_S = 30.0


class KrakenRig(Rig):
    def __init__(self, origin: CountedOrigin, kraken: Kraken) -> None:
        self.origin = origin
        self.kraken = kraken
        self.engine = KrakenEngine(kraken.origin.url, kraken.agents[0].url, NAMESPACE, TIMEOUT_S)

    def read(self, blob: Descriptor, start: int | None = None, end: int | None = None) -> bytes:
        assert (start, end) == (None, None)
        return self.kraken.agents[1].get(str(blob.digest)).content

    def lose(self, blob: Descriptor) -> None:
        url = f"{self.kraken.origin.url}/internal/blobs/{blob.digest}"
        httpx.delete(url, timeout=5, trust_env=False).raise_for_status()

    def unreachable(self) -> KrakenEngine:
        nowhere = "http://127.0.0.1:9"
        return KrakenEngine(nowhere, nowhere, NAMESPACE, TIMEOUT_S)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KrakenRig]:
    # No backend of Kraken can sign its requests.
    origin = CountedOrigin()
    backend = {"http": {"download_url": f"{origin.url}/v2/_/blobs/sha256:%s"}}
    with origin.serving(), Kraken(tmp_path_factory.mktemp("kraken"), backend, agents=2) as kraken:
        rig = KrakenRig(origin, kraken)
        yield rig
        rig.engine.close()


class TestKraken(EngineContract):
    pass


def test_an_origin_keeps_its_blobs_over_a_restart(rig: KrakenRig) -> None:
    blob = rig.origin.add(os.urandom(SIZE))
    assert rig.engine.seed(blob).seeded
    rig.kraken.origin.stop()
    with pytest.raises(EngineUnavailableError):
        rig.engine.holds(blob)
    assert not rig.engine.health().ok
    rig.kraken.origin.start()
    assert rig.engine.holds(blob)


def test_an_agent_fetches_the_whole_for_a_range(rig: KrakenRig) -> None:
    """Why the engine promises no ranges: only the registry of an agent serves them, after all has come."""
    content = os.urandom(SIZE)
    blob = rig.origin.add(content)
    assert rig.engine.seed(blob).seeded
    agent = rig.kraken.agents[1]
    some = {"Range": "bytes=1000-1999"}
    url = f"{agent.registry_url}/v2/any/name/blobs/{blob.digest}"
    answer = httpx.get(url, headers=some, timeout=30, trust_env=False)
    assert (answer.status_code, answer.content) == (206, content[1000:2000])
    assert agent.has(blob.digest)
    url = f"{agent.url}/namespace/{NAMESPACE}/blobs/{blob.digest}"
    assert httpx.get(url, headers=some, timeout=30, trust_env=False).content == content


def test_wrong_bytes_get_no_further_than_the_origin(rig: KrakenRig) -> None:
    blob = rig.origin.add(os.urandom(SIZE))
    rig.origin.replace(blob.digest, os.urandom(SIZE))
    with pytest.raises(EngineUnavailableError, match="digests do not match"):
        rig.engine.seed(blob)
    assert not any(agent.has(blob.digest) for agent in rig.kraken.agents)


def test_the_real_origin(tmp_path: Path) -> None:
    """The listener of the gateway's process, which has to be unsigned for Kraken."""
    content = os.urandom(SIZE)
    blob = Descriptor("application/octet-stream", Digest.of(content), len(content))
    with real_origin(tmp_path / "ours", content) as origin:
        backend = {"http": {"download_url": f"{origin.url}/v2/_/blobs/sha256:%s"}}
        with Kraken(tmp_path, backend) as kraken:
            engine = KrakenEngine(kraken.origin.url, kraken.agents[0].url, "dragonhook", TIMEOUT_S)
            outcome = engine.seed(blob)
            engine.close()
        assert outcome.seeded, outcome.reason
        assert origin.body_bytes() == len(content)


def test_kraken_reads_our_bucket_itself(tmp_path: Path, s3_server: S3Server) -> None:
    """The way for installations whose origin is signed: our store has the layout that Kraken knows."""
    bucket = new_bucket(s3_server)
    content = os.urandom(SIZE)
    (tmp_path / "blob").write_bytes(content)
    blob = Descriptor("application/octet-stream", Digest.of(content), len(content))
    store = open_store(f"s3://{bucket}/some/prefix", access_to(s3_server))
    store.put(blob.digest, tmp_path / "blob")
    backend = {
        "s3": {
            "username": "kraken", "region": s3_server.region, "bucket": bucket, "endpoint": s3_server.url,
            "disable_ssl": True, "force_path_style": True,
            "root_directory": "/some/prefix", "name_path": "sharded_docker_blob",
        }
    }  # fmt: skip
    keys = {"aws_access_key_id": s3_server.access_key, "aws_secret_access_key": s3_server.secret_key}
    auth = {"s3": {"kraken": {"s3": keys}}}
    with Kraken(tmp_path, backend, auth=auth) as kraken:
        engine = KrakenEngine(kraken.origin.url, kraken.agents[0].url, NAMESPACE, TIMEOUT_S)
        outcome = engine.seed(blob)
        assert outcome.seeded, outcome.reason
        assert engine.holds(blob)
        engine.close()
