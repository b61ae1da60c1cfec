"""What a client sees when sources, clients and the gateway itself misbehave."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from p2p_seed.errors import (
    BlobNotFoundError,
    CorruptBlobError,
    StoreConfigurationError,
    StoreUnavailableError,
)
from registry_hook.errors import SettingsError
from registry_hook.gateway.handler import REST_S
from registry_hook.gateway.stream_source import StreamSource
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

CONTENT = random.Random(3).randbytes(3_000_000)
DIGEST = Digest.of(CONTENT)
PATH = blob_path(DIGEST)
BLOBS = {DIGEST: CONTENT}
DOWN = StoreUnavailableError("down")


@pytest.mark.parametrize("error", [DOWN, StoreConfigurationError("refused"), CorruptBlobError("odd")])
@pytest.mark.parametrize("when", ["open_error", "begin_error"])
def test_another_source_takes_over_before_the_first_byte(error: Exception, when: str) -> None:
    bad = FakeSource("store", BLOBS)
    setattr(bad, when, error)
    good = FakeSource("registry", BLOBS)
    with capture_logs() as logs, running([bad, good]) as url:
        reply = ask(url, PATH)
    assert (reply.status, reply.body) == (200, CONTENT)
    warning = next(entry for entry in logs if entry["log_level"] == "warning" and "source" in entry)
    assert (warning["source"], warning["error"]) == ("store", str(error))
    assert bad.opened == bad.closed
    assert good.opened == good.closed == 1


@pytest.mark.parametrize("breaks_at", [1, 1_000_000, 1_700_000, 2_999_999])
@pytest.mark.parametrize("header", [{}, {"Range": "bytes=500000-2999999"}])
def test_the_next_source_goes_on_where_one_broke_off(breaks_at: int, header: dict[str, str]) -> None:
    start = 500_000 if header else 0
    broken, good = FakeSource("store", BLOBS, breaks_at=breaks_at), FakeSource("registry", BLOBS)
    with running([broken, good]) as url:
        reply = ask(url, PATH, **header)
    assert reply.body == CONTENT[start:]
    # Not from the beginning again.
    assert good.ranges == [(max(start, breaks_at), len(CONTENT) - max(start, breaks_at))]
    assert broken.closed == good.closed == 1


def test_three_broken_sources_make_one_whole_answer() -> None:
    sources = [FakeSource(str(at), BLOBS, breaks_at=at) for at in (10, 1_000_000, 2_000_000)]
    with running([*sources, FakeSource("good", BLOBS)]) as url:
        assert ask(url, PATH).body == CONTENT


def test_when_no_source_can_go_on_the_connection_is_cut() -> None:
    sources = [FakeSource("store", BLOBS, breaks_at=1_000_000), FakeSource("next", BLOBS, begin_error=DOWN)]
    with capture_logs() as logs, running(sources) as url:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(url, PATH)
        sources[0].breaks_at = None
        assert ask(url, PATH).body == CONTENT
    assert [entry["status"] for entry in logs if entry["event"] == "request"] == [599, 200]


def test_a_source_with_another_size_does_not_go_on() -> None:
    broken = FakeSource("store", BLOBS, breaks_at=1_000_000)
    longer = FakeSource("registry", {DIGEST: CONTENT + b"x"})
    with running([broken, longer]) as url, pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(url, PATH)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_failing_source_is_no_missing_blob(method: str) -> None:
    with running([FakeSource("store", open_error=DOWN), FakeSource("registry")]) as url:
        reply = ask(url, PATH, method)
        assert (reply.status, reply.body, reply.headers["Retry-After"]) == (503, b"", "1")


def test_a_blob_that_vanishes_after_it_was_found() -> None:
    gone = FakeSource("store", BLOBS, begin_error=BlobNotFoundError("gone"))
    with running([gone]) as url:
        assert ask(url, PATH).status == 404
        assert gone.closed == 1
    with running([gone, FakeSource("registry", BLOBS)]) as url:
        assert ask(url, PATH).body == CONTENT


def test_a_source_that_failed_is_asked_last_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = FakeSource("store", BLOBS, open_error=DOWN), FakeSource("registry", BLOBS)
    clock = [1000.0]
    monkeypatch.setattr("registry_hook.gateway.handler.time.monotonic", lambda: clock[0])
    with running([bad, good]) as url:
        for _ in range(5):
            assert ask(url, PATH, Range="bytes=0-9").status == 206
        assert len(bad.asked_by_push) == 1
        assert ask(url, blob_path(Digest.of(b"x"))).status == 503  # Last, but asked.
        assert len(bad.asked_by_push) == 2
        clock[0] += REST_S + 0.1
        bad.open_error = None
        assert ask(url, PATH, Range="bytes=0-9").status == 206
        assert bad.opened == 1


def test_only_head_is_told_to_be_fresh() -> None:
    source = FakeSource("store", BLOBS)
    with running([source]) as url:
        ask(url, PATH)
        ask(url, PATH, "HEAD")
    assert source.asked_by_push == [False, True]


def test_a_mistake_of_ours_cuts_the_answer_and_nothing_else() -> None:
    source = FakeSource("store", BLOBS, crash=ZeroDivisionError("a mistake"))
    with capture_logs() as logs, running([source]) as url:
        with pytest.raises((http.client.IncompleteRead, ConnectionError, http.client.RemoteDisconnected)):
            ask(url, PATH)
        source.crash = None
        assert ask(url, PATH).body == CONTENT
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request failed"]
    assert source.closed == 2


def test_more_requests_than_slots_wait_and_are_all_answered() -> None:
    gate = threading.Event()
    source = FakeSource("store", BLOBS, gate=gate)
    with running([source], replace(SETTINGS, max_responses=3)) as url, ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(ask, url, PATH) for _ in range(12)]
        time.sleep(0.5)
        assert source.opened == 3
        assert ask(url, "/healthz").status == 200  # Health does not wait.
        gate.set()
        assert all(reply.result().body == CONTENT for reply in replies)
    assert source.most_under_way == 3


def test_a_file_that_becomes_shorter_while_it_is_sent(tmp_path: Path) -> None:
    large = CONTENT * 10  # More than the socket buffers hold, so that something is still to be sent.
    root, [digest] = stored(tmp_path, large)
    path = blob_path(digest)
    good = FakeSource("registry", {digest: large})
    with running([directory_source(root), good]) as url, connected(url) as link:
        link.request("GET", path)
        answer = link.getresponse()
        beginning = answer.read(100_000)
        os.truncate(root / path[1:], 20_000_000)
        assert beginning + answer.read() == large
    assert good.ranges == [(20_000_000, 10_000_000)]


def ask_and_leave(url: str, path: str) -> None:
    with dialled(url) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        link.recv(1000)


def test_clients_that_go_away_release_everything() -> None:
    source = FakeSource("store", {DIGEST: CONTENT, Digest.of(CONTENT * 10): CONTENT * 10})
    path = blob_path(Digest.of(CONTENT * 10))
    with capture_logs() as logs, running([source], replace(SETTINGS, max_responses=2)) as url:
        for _ in range(6):
            ask_and_leave(url, path)
        assert ask(url, PATH).body == CONTENT
    assert source.opened == source.closed == 7
    assert sorted(entry["status"] for entry in logs if entry["event"] == "request") == [200] + [499] * 6


def test_a_client_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT * 10)
    settings = replace(SETTINGS, stall_timeout_s=1, max_responses=1)
    with running([directory_source(root)], settings) as url, dialled(url) as link:
        link.sendall(f"GET {blob_path(digest)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.2)
        # It holds the only slot until the kernel gives it up.
        assert ask(url, blob_path(digest), Range="bytes=0-9").body == CONTENT[:10]


def test_a_running_answer_is_finished_at_the_end(tmp_path: Path) -> None:
    large = CONTENT * 10
    root, [digest] = stored(tmp_path, large)
    with contextlib.ExitStack() as client, contextlib.ExitStack() as stack:
        url = stack.enter_context(running([directory_source(root)]))
        link = client.enter_context(connected(url))
        link.request("GET", blob_path(digest))
        answer = link.getresponse()
        received = answer.read(100_000)
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(stack.close)
            time.sleep(0.3)
            assert not ended.done()
            with pytest.raises(ConnectionError):
                ask(url, "/healthz")  # Nobody new is let in.
            assert received + answer.read() == large
            ended.result(5)


def test_the_end_does_not_wait_for_ever(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT * 10)
    with contextlib.ExitStack() as client, contextlib.ExitStack() as stack:
        url = stack.enter_context(running([directory_source(root)], replace(SETTINGS, drain_timeout_s=0.5)))
        link = client.enter_context(connected(url))
        link.request("GET", blob_path(digest))
        answer = link.getresponse()
        began = time.monotonic()
        stack.close()
        assert time.monotonic() - began < 5
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()


def test_an_address_in_use(tmp_path: Path) -> None:
    root, _ = stored(tmp_path)
    with running([directory_source(root)]) as url:
        port = int(urlsplit(url).port or 0)
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
            running([directory_source(root)], replace(SETTINGS, port=port)).__enter__()
        both = replace(SETTINGS, port=port, reuse_port=True)
        with pytest.raises(SettingsError), running([directory_source(root)], both):
            pass  # The first one did not agree to share.


@dataclass
class SlowStore:
    """A store of blocking calls, as S3 is."""

    content: bytes
    piece_bytes: int = 100_000
    fails_after: int | None = None
    ends_after: int | None = None
    hangs: threading.Event | None = None
    read_hangs: threading.Event | None = None
    stalls_at: int | None = None
    may_go_on: threading.Event = field(default_factory=threading.Event)
    sizes_asked: int = 0
    present: bool = True
    open_reads: int = 0

    def size(self, digest: Digest) -> int | None:
        self.sizes_asked += 1
        if self.hangs is not None:
            self.hangs.wait(20)
        return len(self.content) if self.present and digest == DIGEST else None

    def read(self, digest: Digest, start: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        if not self.present:
            raise BlobNotFoundError("gone")
        self.open_reads += 1
        if self.read_hangs is not None:
            self.read_hangs.wait(20)
        try:
            end = len(self.content) if length is None else start + length
            for position in range(start, end, self.piece_bytes):
                if self.ends_after is not None and position >= self.ends_after:
                    return
                if self.fails_after is not None and position >= self.fails_after:
                    raise StoreUnavailableError("the network is gone")
                if self.stalls_at is not None and position >= self.stalls_at:
                    self.may_go_on.wait(20)
                yield self.content[position : min(end, position + self.piece_bytes)]
        finally:
            self.open_reads -= 1

    def digests(self) -> Iterator[Digest]:
        return iter([DIGEST])


def wait_until_unread(store: SlowStore) -> None:
    """Reads are closed in a thread, a moment after their answers."""
    deadline = time.monotonic() + 10
    while store.open_reads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.open_reads == 0


def test_streamed_parts() -> None:
    store = SlowStore(CONTENT)
    with running([StreamSource("store", store, 4)]) as url:
        assert ask(url, PATH).body == CONTENT
        assert ask(url, PATH, Range="bytes=99999-100000").body == CONTENT[99_999:100_001]
        assert ask(url, PATH, Range="bytes=-300000").body == CONTENT[-300_000:]
        assert store.sizes_asked == 1  # The size of a blob does not change.
        assert ask(url, PATH, "HEAD").headers["Content-Length"] == str(len(CONTENT))
        assert store.sizes_asked == 2  # But it may be gone, and a push must know.
        assert ask(url, blob_path(Digest.of(b"x"))).status == 404
        wait_until_unread(store)


def test_a_remembered_size_does_not_bring_a_blob_back() -> None:
    store = SlowStore(CONTENT)
    with running([StreamSource("store", store, 4)]) as url:
        assert ask(url, PATH).status == 200
        store.present = False
        assert ask(url, PATH).status == 404
        assert ask(url, PATH, "HEAD").status == 404


@pytest.mark.parametrize("fails_after", [0, 100_000, 2_900_000])
def test_a_stream_that_breaks_is_continued(fails_after: int) -> None:
    store, good = SlowStore(CONTENT, fails_after=fails_after), FakeSource("registry", BLOBS)
    with running([StreamSource("store", store, 4), good]) as url:
        assert ask(url, PATH).body == CONTENT
        wait_until_unread(store)
    assert good.ranges == [(fails_after, len(CONTENT) - fails_after)]


def test_a_stream_that_ends_early_is_continued() -> None:
    store, good = SlowStore(CONTENT, ends_after=1_000_000), FakeSource("registry", BLOBS)
    with running([StreamSource("store", store, 4), good]) as url:
        assert ask(url, PATH).body == CONTENT


def test_a_source_that_hangs_does_not_block_another() -> None:
    may_answer = threading.Event()
    hanging, good = SlowStore(CONTENT, hangs=may_answer), SlowStore(CONTENT)
    sources = [StreamSource("good", good, 2), StreamSource("hanging", hanging, 2)]
    with running(sources) as url, ThreadPoolExecutor(8) as pool:
        nowhere = [pool.submit(ask, url, blob_path(Digest.of(b"x"))) for _ in range(6)]
        time.sleep(0.2)
        assert ask(url, PATH).body == CONTENT
        assert not any(reply.done() for reply in nowhere)
        may_answer.set()
        assert {reply.result().status for reply in nowhere} == {404}


@pytest.mark.parametrize("where", ["hangs", "read_hangs"])
def test_another_source_takes_over_from_one_that_hangs(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_hook.gateway.handler.PATIENCE_S", 0.2)
    may_answer = threading.Event()
    hanging, good = SlowStore(CONTENT), FakeSource("registry", BLOBS)
    setattr(hanging, where, may_answer)
    with running([StreamSource("store", hanging, 4), good]) as url:
        began = time.monotonic()
        assert ask(url, PATH).body == CONTENT
        assert ask(url, PATH, Range="bytes=0-9").body == CONTENT[:10]
        assert time.monotonic() - began < 5
        assert hanging.sizes_asked == 1  # It rests now.
        may_answer.set()


def test_another_source_goes_on_for_one_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_hook.gateway.handler.PATIENCE_S", 0.3)
    slow, good = SlowStore(CONTENT, stalls_at=1_500_000), FakeSource("registry", BLOBS)
    with running([StreamSource("store", slow, 4), good]) as url:
        began = time.monotonic()
        assert ask(url, PATH).body == CONTENT
        assert time.monotonic() - began < 5
        assert good.ranges == [(1_500_000, len(CONTENT) - 1_500_000)]
        slow.may_go_on.set()
        wait_until_unread(slow)


def test_a_source_that_stalls_goes_on_if_no_other_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_hook.gateway.handler.PATIENCE_S", 0.2)
    slow, other = SlowStore(CONTENT, stalls_at=1_500_000), FakeSource("registry", BLOBS, begin_error=DOWN)
    with running([StreamSource("store", slow, 4), other]) as url, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask, url, PATH)
        time.sleep(0.6)
        assert not reply.done()
        slow.may_go_on.set()
        assert reply.result().body == CONTENT


def test_a_self_reliant_source_is_neither_hurried_nor_spared() -> None:
    bad = FakeSource("p2p", BLOBS, begin_error=DOWN, self_reliant=True)
    with running([bad, FakeSource("store", BLOBS)]) as url:
        for _ in range(3):
            assert ask(url, PATH).body == CONTENT
    assert bad.opened == bad.closed == 3


def test_a_slow_source_is_waited_for_if_no_other_has_the_blob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_hook.gateway.handler.PATIENCE_S", 0.1)
    may_answer = threading.Event()
    slow, other = SlowStore(CONTENT, hangs=may_answer), SlowStore(CONTENT, present=False, hangs=may_answer)
    sources = [StreamSource("store", slow, 4), StreamSource("registry", other, 4)]
    with running(sources) as url, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask, url, PATH)
        time.sleep(0.5)
        assert not reply.done()
        may_answer.set()
        assert reply.result().body == CONTENT


def test_a_read_that_was_given_up_holds_one_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_hook.gateway.handler.PATIENCE_S", 0.2)
    may_answer = threading.Event()
    store = SlowStore(CONTENT, read_hangs=may_answer)
    with running([StreamSource("store", store, 2), FakeSource("registry", BLOBS)]) as url:
        assert ask(url, PATH).body == CONTENT
        # One thread is still in the read. The other must not wait for it, only to close it.
        assert ask(url, "/readyz").status == 200
        may_answer.set()
        wait_until_unread(store)


def test_clients_that_leave_a_stream_close_it() -> None:
    store = SlowStore(CONTENT * 10)
    with running([StreamSource("store", store, 4)]) as url:
        for _ in range(6):
            ask_and_leave(url, PATH)
        wait_until_unread(store)
        assert ask(url, PATH, Range="bytes=0-99").body == CONTENT[:100]
