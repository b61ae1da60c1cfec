"""One HTTP part of an engine: what becomes of each kind of answer."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from p2p_seed.errors import EngineConfigurationError, EngineError, EngineUnavailableError
from p2p_seed.supernode.http_part import HttpPart
from p2p_seed.supernode.patience import Patience


@dataclass
class Scripted:
    """What the server answers to everything."""

    status: int = 200
    body: bytes = b""
    promised_bytes: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def serving(script: Scripted) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.seen.append((self.command, self.path, self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(script.status)
            promised = len(script.body) if script.promised_bytes is None else script.promised_bytes
            self.send_header("Content-Length", str(promised))
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(script.body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (of the interface)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asking(script: Scripted) -> Iterator[HttpPart]:
    with serving(script) as url:
        part = HttpPart("the part", url, headers={"Authorization": "Bearer secret"}, stall_s=2)
        try:
            yield part
        finally:
            part.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, EngineConfigurationError),
        (403, EngineConfigurationError),
        (404, EngineError),
        (408, EngineUnavailableError),
        (429, EngineUnavailableError),
        (500, EngineUnavailableError),
        (503, EngineUnavailableError),
    ],
)
def test_what_was_not_expected_is_an_error_of_its_kind(status: int, error: type[EngineError]) -> None:
    script = Scripted(status, b"no, http://o/v2/_/blobs/x?Expires=1&Signature=abc is bad")
    with asking(script) as part:
        for call in (lambda: part.ask("GET", "/x"), lambda: part.read("/x", 5, lambda: None)):
            with pytest.raises(EngineError) as raised:
                call()
            assert type(raised.value) is error
            message = str(raised.value)
            assert "the part http://127.0.0.1" in message
            assert f"answered {status}" in message
            assert "is bad" in message
            assert "Signature" not in message
            assert "secret" not in message
        assert f"answered {status}" in str(part.answers("/x"))
    assert {authorization for _, _, authorization in script.seen} == {"Bearer secret"}


def test_an_expected_answer_is_given() -> None:
    with asking(Scripted(208, b'{"code": 208}', headers={"X-Some": "thing"})) as part:
        answer = part.ask("POST", "/x", expected=(201, 208), body={"a": 1})
    assert (answer.status, answer.headers["x-some"], answer.member("code")) == (208, "thing", 208)
    assert answer.member("other") is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"'])
def test_an_answer_that_is_no_object_has_no_members(body: bytes) -> None:
    with asking(Scripted(body=body)) as part:
        assert part.ask("GET", "/x").member("id") is None


def test_an_endless_answer_is_refused() -> None:
    with asking(Scripted(body=b" " * (3 << 20))) as part, pytest.raises(EngineError, match="more than"):
        part.ask("GET", "/x")


def test_nobody_answers() -> None:
    part = HttpPart("the part", "http://127.0.0.1:9")
    with pytest.raises(EngineUnavailableError, match="does not answer"):
        part.ask("GET", "/x")
    assert "does not answer" in (part.answers("/x") or "")
    part.close()


def test_content_is_hashed() -> None:
    content = b"content" * 1000
    with asking(Scripted(body=content)) as part:
        found = part.read("/x", len(content), lambda: None)
    assert found.digest.hex == hashlib.sha256(content).hexdigest()
    assert found.size == len(content)


def test_no_more_is_read_than_one_part_beyond_what_was_wanted() -> None:
    content = bytes(20 << 20)
    with asking(Scripted(body=content)) as part:
        found = part.read("/x", 10, lambda: None)
    assert 10 < found.size < len(content)
    assert found.digest.hex != hashlib.sha256(content[:10]).hexdigest()


def test_content_that_breaks_off_is_no_content() -> None:
    with asking(Scripted(body=b"half", promised_bytes=8)) as part, pytest.raises(EngineUnavailableError):
        part.read("/x", 8, lambda: None)


def test_the_reader_can_be_stopped() -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    with asking(Scripted(body=b"content")) as part, pytest.raises(StoppedError):
        part.read("/x", 7, stop)


def test_pauses_grow_and_end() -> None:
    now_s = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        pauses.append(seconds)

    patience = Patience(60, lambda: now_s, sleep)
    while now_s < 60:
        patience.pause("the thing", lambda: None)
    with pytest.raises(EngineUnavailableError, match="the thing is not done after 60 s"):
        patience.pause("the thing", lambda: None)
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.2
    assert pauses[-1] == 2.0
    assert 60 <= sum(pauses) < 63
