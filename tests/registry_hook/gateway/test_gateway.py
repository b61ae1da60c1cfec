"""What a client of the gateway sees on the wire."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from tests.registry_hook.gateway.running import (
    SETTINGS,
    FakeSource,
    ask,
    blob_path,
    connected,
    dialled,
    directory_source,
    running,
    stored,
)

# Larger than all socket buffers between the two ends.
CONTENT = random.Random(2).randbytes(20_000_000)
DIGEST = Digest.of(CONTENT)
EMPTY = Digest.of(b"")
MISSING = Digest.of(b"missing")
PATH = blob_path(DIGEST)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root, _ = stored(tmp_path_factory.mktemp("gateway"), CONTENT, b"")
    with running([directory_source(root)]) as url:
        yield url


def test_a_whole_blob(gateway: str) -> None:
    reply = ask(gateway, PATH)
    assert reply.status == 200
    assert reply.body == CONTENT
    date = reply.headers.pop("Date")  # type: ignore[attr-defined]  # a dict in fact
    assert date.endswith("GMT")
    assert reply.headers == {
        "Server": "dragonhook",
        "ETag": f'"{DIGEST}"',
        "Docker-Content-Digest": str(DIGEST),
        "Cache-Control": "max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(CONTENT)),
    }


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-1999999", 1_000_000, 2_000_000),
        ("bytes=5-", 5, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        ("bytes=19999999-99999999", len(CONTENT) - 1, len(CONTENT)),
    ],
)
def test_a_part(gateway: str, header: str, start: int, end: int) -> None:
    reply = ask(gateway, PATH, Range=header)
    assert reply.status == 206
    assert reply.body == CONTENT[start:end]
    assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert reply.headers["Content-Length"] == str(end - start)


def test_a_part_behind_the_end(gateway: str) -> None:
    reply = ask(gateway, PATH, Range=f"bytes={len(CONTENT)}-")
    assert (reply.status, reply.body) == (416, b"")
    assert reply.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert reply.headers["Content-Length"] == "0"


def test_several_parts_are_answered_with_everything(gateway: str) -> None:
    reply = ask(gateway, PATH, Range="bytes=0-1,5-6")
    assert (reply.status, reply.body) == (200, CONTENT)


@pytest.mark.parametrize("header", [{}, {"Range": "bytes=5-9"}])
def test_head(gateway: str, header: dict[str, str]) -> None:
    reply = ask(gateway, PATH, "HEAD", **header)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(CONTENT))
    assert reply.headers["Docker-Content-Digest"] == str(DIGEST)


def test_if_range(gateway: str) -> None:
    assert ask(gateway, PATH, Range="bytes=5-9", If_Range=f'"{DIGEST}"').status == 206
    assert ask(gateway, PATH, Range="bytes=5-9", If_Range='"something else"').status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_not_modified(gateway: str, method: str) -> None:
    reply = ask(gateway, PATH, method, If_None_Match=f'"{DIGEST}"')
    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_empty_blob(gateway: str, method: str) -> None:
    reply = ask(gateway, blob_path(EMPTY), method)
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/", "/v2/", blob_path(MISSING), f"{PATH}x", PATH.replace("/blobs/", "/blobs//")]
)
def test_nothing_there(gateway: str, method: str, path: str) -> None:
    reply = ask(gateway, path, method)
    assert (reply.status, reply.body) == (404, b"")
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(gateway: str, method: str) -> None:
    reply = ask(gateway, PATH, method)
    assert (reply.status, reply.body, reply.headers["Allow"]) == (405, b"", "GET, HEAD")


@pytest.mark.parametrize("prefix", ["/p2p/reg/", "/bucket/some/prefix/"])
def test_the_prefix_of_a_baseurl(gateway: str, prefix: str) -> None:
    assert ask(gateway, blob_path(DIGEST, prefix), Range="bytes=0-9").body == CONTENT[:10]


def test_never_encoded_and_never_chunked(gateway: str) -> None:
    reply = ask(gateway, PATH, Accept_Encoding="zstd, gzip, deflate, br", Range="bytes=0-999999")
    assert "Content-Encoding" not in reply.headers
    assert "Transfer-Encoding" not in reply.headers
    assert "Vary" not in reply.headers


def test_files_that_look_like_a_compressed_twin_are_not_used(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, b"content")
    data = root / blob_path(digest)[1:]
    data.with_suffix(".gz").write_bytes(b"a trap")
    with running([directory_source(root)]) as url:
        assert ask(url, blob_path(digest), Accept_Encoding="gzip").body == b"content"


def test_many_requests_on_one_connection(gateway: str) -> None:
    with connected(gateway) as link:
        for start in range(0, 5_000_000, 333_333):
            for method, path, status in [
                ("GET", PATH, 206),
                ("HEAD", PATH, 200),
                ("GET", blob_path(MISSING), 404),
                ("GET", blob_path(EMPTY), 416),
            ]:
                link.request(method, path, headers={"Range": f"bytes={start}-{start + 222_222}"})
                answer = link.getresponse()
                body = answer.read()
                assert answer.status == status
                assert body == (CONTENT[start : start + 222_223] if status == 206 else b"")


def test_pipelined_requests(gateway: str) -> None:
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
    with dialled(gateway) as link:
        link.sendall("".join(request % (n * 1000, n * 1000 + 999_999) for n in range(5)).encode())
        stream = link.makefile("rb")
        for n in range(5):
            assert stream.readline() == b"HTTP/1.1 206 Partial Content\r\n"
            assert http.client.parse_headers(stream)["Content-Length"] == "1000000"
            assert stream.read(1_000_000) == CONTENT[n * 1000 : n * 1000 + 1_000_000]


def test_a_huge_token_is_ignored_like_a_small_one(gateway: str) -> None:
    assert ask(gateway, PATH, "HEAD", Authorization="Bearer " + "x" * 50_000).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_a_closed_network_everything_is_refused(tmp_path: Path, method: str) -> None:
    root, [digest] = stored(tmp_path, b"content")
    settings = replace(SETTINGS, closed_network=False)
    with capture_logs() as logs, running([directory_source(root)], settings) as url:
        for wanted in (digest, MISSING):  # And so nothing is told about what is there.
            reply = ask(url, blob_path(wanted), method)
            assert (reply.status, reply.body) == (403, b"")
        assert ask(url, "/readyz").status == 503
        assert b"closed_network" in ask(url, "/readyz").body
    errors = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert len(errors) == 1
    assert "closed_network = true" in errors[0]


def test_the_next_source_has_what_the_first_lacks(tmp_path: Path) -> None:
    store, [ours] = stored(tmp_path / "1", b"ours")
    registry, [theirs] = stored(tmp_path / "2", b"theirs")
    with running([directory_source(store), directory_source(registry, "registry")]) as url:
        assert ask(url, blob_path(ours)).body == b"ours"
        assert ask(url, blob_path(theirs)).body == b"theirs"
        assert ask(url, blob_path(MISSING)).status == 404


def test_secrets_are_ignored_and_not_logged(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, b"content")
    with capture_logs() as logs, running([directory_source(root)]) as url:
        reply = ask(
            url,
            blob_path(digest) + "?X-Amz-Signature=secret1&token=secret2",
            Authorization="Bearer secret3",
            Cookie="secret4",
            Referer="http://user:secret5@registry/v2/",
        )
        assert reply.body == b"content"
        ask(url, "/secret6?secret7")
    assert "secret" not in repr(logs)
    entry = next(entry for entry in logs if entry["event"] == "request")
    assert entry.pop("milliseconds") >= 0
    assert entry == {
        "event": "request",
        "log_level": "info",
        "client": "127.0.0.1",
        "method": "GET",
        "digest": str(digest),
        "range": None,
        "status": 200,
        "bytes": 7,
        "sources": ["store"],
    }


@pytest.mark.parametrize(
    "header", [b"Authorization: secret\0", b"Authorization : secret", b"A: " + b"secret" * 20_000]
)
def test_a_request_that_is_not_http_is_not_logged_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    root, [digest] = stored(tmp_path, b"content")
    with running([directory_source(root)]) as url:
        with dialled(url) as link:
            link.sendall(f"GET {blob_path(digest)} HTTP/1.1\r\n".encode() + header + b"\r\n\r\n")
            assert b" 400 " in link.recv(100)
        assert ask(url, blob_path(digest)).body == b"content"
    assert "Error handling request from 127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


def test_no_access_log_when_switched_off(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, b"content")
    settings = replace(SETTINGS, access_log=False)
    with capture_logs() as logs, running([directory_source(root)], settings) as url:
        ask(url, blob_path(digest))
    assert "request" not in [entry["event"] for entry in logs]


def test_health_and_readiness(tmp_path: Path) -> None:
    root, _ = stored(tmp_path)
    with running([directory_source(root), directory_source(tmp_path / "unmounted", "registry")]) as url:
        assert ask(url, "/healthz").status == 200
        reply = ask(url, "/readyz")
        assert reply.status == 503
        assert b"unmounted" in reply.body
        (tmp_path / "unmounted").mkdir()
        assert ask(url, "/readyz").status == 200


def test_metrics_have_a_listener_of_their_own(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, b"content")
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = replace(SETTINGS, metrics_port=port)
    broken = FakeSource("registry", {MISSING: b"x"})
    with running([directory_source(root), broken], settings) as url:
        for _ in range(3):
            ask(url, blob_path(digest))
        ask(url, blob_path(digest), "HEAD")
        ask(url, blob_path(Digest.of(b"nowhere")))
        assert ask(url, "/metrics", "PATCH").status == 404
        shown = ask(f"http://127.0.0.1:{port}", "/metrics").body.decode()
    for line in (
        'dragonhook_gateway_requests_total{method="GET",status="200"} 3.0',
        'dragonhook_gateway_requests_total{method="HEAD",status="200"} 1.0',
        'dragonhook_gateway_requests_total{method="GET",status="404"} 1.0',
        'dragonhook_gateway_requests_total{method="other",status="404"} 1.0',
        'dragonhook_gateway_bytes_total{source="store"} 21.0',
        "dragonhook_gateway_answers_running 0.0",
        "dragonhook_gateway_answer_seconds_count 6.0",
    ):
        assert line in shown
