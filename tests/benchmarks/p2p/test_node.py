"""The program of a node, as a process of its own against a small server."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.benchmarks.p2p import node

LAYERS = [bytes([number]) * 300_000 for number in range(3)]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """Gives manifests itself, and sends clients elsewhere for blobs: once for config, twice for layers."""

    content: dict[str, bytes]
    agents: set[str | None]

    def do_GET(self) -> None:
        self.agents.add(self.headers["User-Agent"])
        *_, kind, name = self.path.split("/")
        if kind == "blobs":
            self._redirect(f"/v2/_/second/{name}")
        elif kind == "second":
            self._redirect(f"http://{self.headers['Host']}/v2/_/third/{name}")
        else:
            found = self.content.get(name)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

    def _redirect(self, target: str) -> None:
        self.send_response(307)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as in the base class
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    config = b"{}"
    manifest = {
        "config": {"digest": digest(config), "size": 2},
        "layers": [{"digest": digest(layer), "size": len(layer)} for layer in LAYERS],
    }
    raw = json.dumps(manifest).encode()
    Handler.content = {digest(content): content for content in (config, raw, *LAYERS)}
    Handler.agents = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.manifest = digest(raw)  # type: ignore[attr-defined]  # carried along for the tests
        threading.Thread(target=running.serve_forever).start()
        yield running
        running.shutdown()


def orders(server: ThreadingHTTPServer) -> dict[str, object]:
    base = f"http://127.0.0.1:{server.server_address[1]}"
    return {
        "registry": base, "repository": "bench/image",
        "manifest": server.manifest,  # type: ignore[attr-defined]  # see the fixture
        "blobs": f"{base}/v2/bench/image/blobs/", "headers": {"User-Agent": "containerd/2"},
    }  # fmt: skip


def run(told: dict[str, object]) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", node.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    output, _ = process.communicate("go\n", timeout=30)
    answer: dict[str, Any] = json.loads(output)
    return answer


def test_a_pull_follows_two_redirects_and_says_how_long_it_took(server: ThreadingHTTPServer) -> None:
    answer = run(orders(server))
    assert 0 < answer["seconds"] < 10
    assert Handler.agents == {"containerd/2"}


def test_wrong_bytes_are_an_error(server: ThreadingHTTPServer) -> None:
    Handler.content[digest(LAYERS[1])] = bytes(300_000)
    assert "the content is sha256:" in run(orders(server))["error"]


def test_missing_bytes_are_an_error(server: ThreadingHTTPServer) -> None:
    Handler.content[digest(LAYERS[2])] = LAYERS[2][:-1]
    assert "299999 bytes instead of 300000" in run(orders(server))["error"]


def test_a_missing_blob_is_an_error(server: ThreadingHTTPServer) -> None:
    del Handler.content[digest(LAYERS[0])]
    assert "404" in run(orders(server))["error"]


def test_a_redirect_without_end_is_an_error(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_MAX_REDIRECTS", 2)
    told = orders(server)
    with pytest.raises(node.NodeError, match="more than 2 redirects"):
        node.fetch(f"{told['blobs']}{digest(LAYERS[0])}", digest(LAYERS[0]), None, {})
