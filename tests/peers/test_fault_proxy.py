"""The proxy in front of real S3: what it counts, and each fault."""

from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.peers.fault_proxy import Fault, FaultProxy, TcpGate
from tests.peers.s3 import S3Server

pytestmark = pytest.mark.peers

BODY = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    s3_server.create_bucket("fault-proxy")
    return "fault-proxy"


@pytest.fixture
def proxy(s3_server: S3Server, bucket: str) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.url) as proxy:
        _client(proxy.url).put_object(Bucket=bucket, Key="a b/ü+%41", Body=BODY)
        yield proxy


def _client(url: str):  # type: ignore[no-untyped-def]  # the stubs know no client of a name that is not literal
    return boto3.client(
        "s3", endpoint_url=url, region_name=S3Server.region,
        aws_access_key_id=S3Server.access_key, aws_secret_access_key=S3Server.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip


def _presigned(proxy: FaultProxy) -> str:
    parameters = {"Bucket": "fault-proxy", "Key": "a b/ü+%41"}
    return str(_client(proxy.url).generate_presigned_url("get_object", Params=parameters))


def test_signed_requests_pass_and_are_counted(proxy: FaultProxy) -> None:
    url = _presigned(proxy)
    assert httpx.get(url, trust_env=False).content == BODY
    part = httpx.get(url, headers={"Range": "bytes=5-9"}, trust_env=False)
    assert (part.status_code, part.content) == (206, BODY[5:10])
    assert proxy.body_bytes("fault-proxy/a%20b/") == len(BODY) + 5
    assert [exchange.method for exchange in proxy.requests()] == ["PUT", "GET", "GET"]
    assert proxy.requests()[-1].headers["range"] == "bytes=5-9"
    assert proxy.requests("nothing") == []
    proxy.forget()
    assert proxy.body_bytes() == 0


def test_answers_an_error_until_it_is_healed(proxy: FaultProxy) -> None:
    url = _presigned(proxy)
    proxy.fail(Fault(status=503))
    assert httpx.get(url, trust_env=False).status_code == 503
    proxy.heal()
    assert httpx.get(url, trust_env=False).status_code == 200


def test_a_fault_is_for_one_path_only(proxy: FaultProxy) -> None:
    proxy.fail(Fault(status=503, path="elsewhere"))
    assert httpx.get(_presigned(proxy), trust_env=False).status_code == 200


def test_flips_one_bit(proxy: FaultProxy) -> None:
    proxy.fail(Fault(flip=True))
    got = httpx.get(_presigned(proxy), trust_env=False).content
    differences = [(a, b) for a, b in zip(got, BODY, strict=True) if a != b]
    assert len(differences) == 1
    assert (differences[0][0] ^ differences[0][1]).bit_count() == 1


def test_cuts_bodies_off(proxy: FaultProxy) -> None:
    proxy.fail(Fault(cut_after_bytes=1000))
    with pytest.raises(httpx.HTTPError):
        httpx.get(_presigned(proxy), trust_env=False)
    assert proxy.body_bytes() == 1000


def test_slows_an_answer_that_is_being_sent(proxy: FaultProxy) -> None:
    proxy.fail(Fault(rate_bytes_s=10_000))
    started = time.monotonic()
    with httpx.stream("GET", _presigned(proxy), trust_env=False) as answer:
        pieces = answer.iter_raw()
        while proxy.body_bytes() < 5_000:
            next(pieces)
        assert 0.3 < time.monotonic() - started < 5
        proxy.heal()
        for _ in pieces:
            pass
    assert time.monotonic() - started < 10, "the rest of 1 MiB would take 100 s"
    assert proxy.body_bytes() == len(BODY)


def test_never_answers(proxy: FaultProxy) -> None:
    proxy.fail(Fault(silent=True))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(_presigned(proxy), timeout=0.3, trust_env=False)


def test_refuses_and_accepts_again(proxy: FaultProxy) -> None:
    url = _presigned(proxy)
    proxy.refuse()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    proxy.accept()
    assert httpx.get(url, trust_env=False).status_code == 200


def test_an_upstream_that_is_gone_breaks_the_connection() -> None:
    with FaultProxy("http://127.0.0.1:1") as proxy, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(proxy.url, trust_env=False)


def test_a_gate_passes_on_refuses_and_moves(proxy: FaultProxy, s3_server: S3Server) -> None:
    with TcpGate("127.0.0.1:1") as gate, httpx.Client(trust_env=False) as client:
        with pytest.raises(httpx.HTTPError):
            client.get(gate.url)
        gate.target = s3_server.host
        assert client.get(gate.url).status_code == 403
        gate.refuse()
        with pytest.raises(httpx.HTTPError):
            client.get(gate.url)
        gate.accept()
        assert client.get(gate.url).status_code == 403
