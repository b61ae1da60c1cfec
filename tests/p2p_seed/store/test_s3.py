"""What only the S3 store promises, against a real server and a bad network before it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from p2p_seed.errors import StoreConfigurationError, StoreUnavailableError
from p2p_seed.store import S3Access
from p2p_seed.store.keys import blob_key
from p2p_seed.store.s3 import S3Store
from tests.p2p_seed.store.backends import SMALL_PART_BYTES, S3Backend, access_to, new_bucket, write_blob
from tests.p2p_seed.store.meddler import Exchange, Meddler
from tests.peers.certificates import CertificateAuthority
from tests.peers.programs import find_program
from tests.peers.s3 import S3Server
from tests.peers.server import Server, free_port

pytestmark = pytest.mark.peers

Attempt = Callable[[], object]

SMALL = b"a small blob"
LARGE = random.Random(1).randbytes(3 * SMALL_PART_BYTES + 77)


def through(meddler: Meddler, backend: S3Backend) -> S3Store:
    access = access_to(backend.server, meddler.url)
    return S3Store(backend.bucket, backend.prefix, access, SMALL_PART_BYTES)


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_every_upload_is_conditional_and_has_checksums(
    s3_backend: S3Backend, tmp_path: Path, content: bytes
) -> None:
    digest, source = write_blob(tmp_path, content)
    s3_backend.store.put(digest, source)
    answer = s3_backend.client.head_object(
        Bucket=s3_backend.bucket, Key=f"{s3_backend.prefix}/{blob_key(digest)}", ChecksumMode="ENABLED"
    )
    assert answer.get("ChecksumSHA256")
    # Somebody puts the object between our look and our upload: a server that ignored the condition would
    # let us overwrite it.
    other, other_source = write_blob(tmp_path, content[::-1])

    def appear(exchange: Exchange) -> None:
        if exchange.method in ("PUT", "POST") and "uploads" not in exchange.path:
            s3_backend.overwrite(other, content[::-1])

    with Meddler(s3_backend.server.url, on_request=appear) as meddler:
        assert through(meddler, s3_backend).put(other, other_source) is False
    assert sorted(s3_backend.everything()) == sorted([blob_key(digest), blob_key(other)])


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_bit_flipped_on_the_way_is_noticed(s3_backend: S3Backend, tmp_path: Path, content: bytes) -> None:
    digest, source = write_blob(tmp_path, content)

    def flip(exchange: Exchange) -> None:
        if exchange.method == "PUT":
            exchange.body = bytes([exchange.body[0] ^ 1]) + exchange.body[1:]

    with (
        Meddler(s3_backend.server.url, on_request=flip) as meddler,
        pytest.raises(StoreUnavailableError, match=digest.hex),
    ):
        through(meddler, s3_backend).put(digest, source)
    assert s3_backend.everything() == []


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_server_that_compares_no_checksums_is_refused(
    s3_backend: S3Backend, tmp_path: Path, content: bytes
) -> None:
    digest, source = write_blob(tmp_path, content)

    def forget(exchange: Exchange) -> None:
        exchange.answer_headers = [
            (name, value) for name, value in exchange.answer_headers if "checksum" not in name.lower()
        ]

    with (
        Meddler(s3_backend.server.url, on_answer=forget) as meddler,
        pytest.raises(StoreConfigurationError, match="SHA-256"),
    ):
        through(meddler, s3_backend).put(digest, source)
    assert s3_backend.everything() == []


def test_a_lost_answer_to_a_small_put(s3_backend: S3Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, SMALL)
    lost: list[Exchange] = []

    def lose_once(exchange: Exchange) -> None:
        if exchange.method == "PUT" and not lost:
            lost.append(exchange)
            exchange.drop_answer = True

    with Meddler(s3_backend.server.url, on_answer=lose_once) as meddler:
        # The repeated request finds what the first one has stored: not ours, as far as anyone can tell.
        assert through(meddler, s3_backend).put(digest, source) is False
    assert lost[0].status == 200
    assert b"".join(s3_backend.store.read(digest)) == SMALL


@pytest.mark.parametrize("forgets", [False, True])
def test_a_lost_answer_to_the_end_of_an_upload(s3_backend: S3Backend, tmp_path: Path, forgets: bool) -> None:
    digest, source = write_blob(tmp_path, LARGE)
    ends: list[Exchange] = []

    def lose_once(exchange: Exchange) -> None:
        if exchange.method == "POST" and exchange.body:
            ends.append(exchange)
            exchange.drop_answer = len(ends) == 1
            if len(ends) == 2 and forgets:
                exchange.status, exchange.answer_headers = 404, []
                exchange.answer = b"<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>"

    with Meddler(s3_backend.server.url, on_answer=lose_once) as meddler:
        # A server may remember an upload that it has completed, or not; the blob is stored in both cases.
        assert through(meddler, s3_backend).put(digest, source) is not forgets
    assert len(ends) == 2
    assert b"".join(s3_backend.store.read(digest)) == LARGE
    assert s3_backend.everything() == [blob_key(digest)]


def test_a_part_that_keeps_failing_aborts_the_upload(s3_backend: S3Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, LARGE)

    def fail(exchange: Exchange) -> None:
        if "partNumber=3" in exchange.path:
            exchange.status, exchange.answer = 500, b""
            exchange.answer_headers = []

    with Meddler(s3_backend.server.url, on_answer=fail) as meddler:
        with pytest.raises(StoreUnavailableError):
            through(meddler, s3_backend).put(digest, source)
        assert sum("partNumber=3" in exchange.path for exchange in meddler.exchanges) == 2
    assert s3_backend.everything() == []


def test_a_body_cut_short_is_an_error(s3_backend: S3Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, LARGE)
    s3_backend.store.put(digest, source)

    def cut(exchange: Exchange) -> None:
        if exchange.method == "GET":
            exchange.answer = exchange.answer[: len(LARGE) // 2]
            exchange.hang_up = True

    with (
        Meddler(s3_backend.server.url, on_answer=cut) as meddler,
        pytest.raises(StoreUnavailableError, match=digest.hex),
    ):
        list(through(meddler, s3_backend).read(digest))


def test_uploads_of_killed_puts_are_removed_by_age(s3_backend: S3Backend, tmp_path: Path) -> None:
    digest, _ = write_blob(tmp_path, LARGE)
    key = f"{s3_backend.prefix}/{blob_key(digest)}"
    s3_backend.client.create_multipart_upload(Bucket=s3_backend.bucket, Key=key)
    s3_backend.client.create_multipart_upload(Bucket=s3_backend.bucket, Key="somebody/elses")
    now = datetime.now(UTC)
    assert s3_backend.store.remove_leftovers(now - timedelta(hours=1)) == 0
    assert s3_backend.store.remove_leftovers(now + timedelta(hours=1)) == 1
    assert s3_backend.everything() == ["unfinished somebody/elses"]


def test_a_wrong_secret_is_for_the_operator(s3_backend: S3Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, SMALL)
    access = replace(access_to(s3_backend.server), secret_key="wrong")
    store = S3Store(s3_backend.bucket, "", access)
    attempts: list[Attempt] = [
        lambda: store.size(digest),
        lambda: store.put(digest, source),
        lambda: list(store.read(digest)),
        lambda: list(store.digests()),
        lambda: store.delete(digest),
    ]
    for attempt in attempts:
        with pytest.raises(StoreConfigurationError, match="check keys"):
            attempt()


def test_a_missing_bucket_is_no_empty_store(s3_server: S3Server, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, SMALL)
    store = S3Store("no-such-bucket", "", access_to(s3_server))
    attempts: list[tuple[Attempt, str]] = [
        (lambda: store.size(digest), "'no-such-bucket': create it"),
        (lambda: store.put(digest, source), "'no-such-bucket': create it"),
        (lambda: list(store.read(digest)), "NoSuchBucket"),
        (lambda: list(store.digests()), "NoSuchBucket"),
    ]
    for attempt, message in attempts:
        with pytest.raises(StoreConfigurationError, match=message):
            attempt()


def test_a_server_that_is_down(s3_server: S3Server, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, SMALL)
    store = S3Store("bucket", "", access_to(s3_server, f"http://127.0.0.1:{free_port()}"))
    attempts: list[Attempt] = [lambda: store.size(digest), lambda: store.put(digest, source)]
    for attempt in attempts:
        with pytest.raises(StoreUnavailableError, match=digest.hex):
            attempt()


@pytest.mark.parametrize("prefix", ["", "/", "a", "/a/b/"])
def test_any_prefix(s3_server: S3Server, tmp_path: Path, prefix: str) -> None:
    digest, source = write_blob(tmp_path, SMALL)
    backend = S3Backend(s3_server, new_bucket(s3_server), "")
    S3Store(backend.bucket, prefix, access_to(s3_server)).put(digest, source)
    assert backend.everything() == ["/".join(filter(None, [prefix.strip("/"), blob_key(digest)]))]


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    tls = authority.issue()
    (tmp_path / "objects" / "bucket").mkdir(parents=True)
    (tmp_path / "metadata").mkdir()
    (tmp_path / "stranger").mkdir()
    stranger = CertificateAuthority(tmp_path / "stranger")
    port = free_port()
    command = [
        str(find_program("versitygw")), "--port", f"127.0.0.1:{port}",
        "--cert", str(tls.certificate), "--key", str(tls.key),
        "posix", "--sidecar", str(tmp_path / "metadata"), str(tmp_path / "objects"),
    ]  # fmt: skip
    environ = {"ROOT_ACCESS_KEY": S3Server.access_key, "ROOT_SECRET_KEY": S3Server.secret_key}
    digest, source = write_blob(tmp_path, SMALL)
    with Server(command, port, tmp_path / "log", environ=environ, scheme="https") as server:
        access = S3Access(
            endpoint_url=server.url,
            access_key=S3Server.access_key,
            secret_key=S3Server.secret_key,
            ca_bundle=authority.certificate,
        )
        assert S3Store("bucket", "", access).put(digest, source) is True
        for bundle in (None, stranger.certificate):
            with pytest.raises(StoreConfigurationError, match="certificate verify failed"):
                S3Store("bucket", "", replace(access, ca_bundle=bundle)).size(digest)
