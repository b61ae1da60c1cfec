"""Redirects, errors and bounds, over the whole client."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from converter.oci import Digest
from registry_hook.registry import (
    ConfigurationError,
    Credential,
    FixedCredentials,
    NotFoundError,
    NoTlsError,
    ProtocolError,
    RefusedError,
    RegistryEndpoint,
    RegistryError,
    RegistryUnavailableError,
    SizeMismatchError,
    UntrustedCertificateError,
)
from tests.registry_hook.registry.fake import (
    URL,
    FakeRegistry,
    Pieces,
    blob,
    broken,
    client_of,
    error,
    image_bytes,
    once,
)

CONTENT = bytes(range(256)) * 4000
USER = FixedCredentials({"registry.test": Credential("user", "secret")})
BASIC = "Basic " + base64.b64encode(b"user:secret").decode()


class Redirecting:
    """A registry that sends readers of blobs elsewhere, and asks for a password."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.gateway = FakeRegistry(blobs={str(blob(CONTENT).digest): CONTENT})
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if str(request.url).startswith(URL + "/v2/"):
            if request.headers.get("Authorization") != BASIC:
                return httpx.Response(401, headers={"WWW-Authenticate": "Basic"})
            return httpx.Response(307, headers={"Location": self.target})
        inner = httpx.Request(
            request.method, f"{URL}/v2/app/blobs/{blob(CONTENT).digest}", headers=request.headers
        )
        return self.gateway(inner)


@pytest.mark.parametrize(
    "target",
    [
        "https://gateway.test/docker/registry/v2/blobs/x/data?X-Amz-Signature=1",
        "https://registry.test:8443/data",  # the same name with another port is another origin
        "https://sub.registry.test/data",
        "https://registry.test.evil.test/data",
    ],
)
def test_credentials_do_not_follow_a_redirect(target: str) -> None:
    redirecting = Redirecting(target)
    with client_of(redirecting, USER) as client:
        with client.open_blob("app", blob(CONTENT)) as stream:
            assert stream.read() == CONTENT
        assert client.blob_size("app", blob(CONTENT).digest) == len(CONTENT)
    elsewhere = redirecting.gateway.requests
    assert {request.method for request in elsewhere} == {"GET", "HEAD"}
    assert not any("Authorization" in request.headers for request in elsewhere)


def test_the_range_is_kept_at_the_redirect() -> None:
    redirecting = Redirecting("https://gateway.test/data")
    half = Pieces([CONTENT[:1000]], httpx.ReadError("reset"))
    redirecting.gateway.faults.append(once(httpx.Response(200, stream=half), "GET"))
    with client_of(redirecting, USER) as client, client.open_blob("app", blob(CONTENT)) as stream:
        assert stream.read() == CONTENT
    assert [request.headers.get("Range") for request in redirecting.gateway.requests] == [None, "bytes=1000-"]


def test_a_redirect_from_https_to_http_is_refused() -> None:
    redirecting = Redirecting("http://gateway.test/data")
    with (
        client_of(redirecting, USER) as client,
        pytest.raises(ConfigurationError, match="plain_http_redirects"),
        client.open_blob("app", blob(CONTENT)) as stream,
    ):
        stream.read()
    assert redirecting.gateway.requests == []


def test_unless_the_operator_allows_it() -> None:
    redirecting = Redirecting("http://gateway.test/data")
    endpoint = RegistryEndpoint(URL, plain_http_redirects=True)
    with (
        client_of(redirecting, USER, endpoint=endpoint) as client,
        client.open_blob("app", blob(CONTENT)) as stream,
    ):
        assert stream.read() == CONTENT


@pytest.mark.parametrize("target", ["ftp://gateway.test/x", "https://", "data:,x"])
def test_strange_redirects_are_refused(target: str) -> None:
    with client_of(Redirecting(target), USER) as client, pytest.raises(ProtocolError):
        client.blob_size("app", blob(CONTENT).digest)


def test_a_registry_that_redirects_tells_no_sizes_itself() -> None:
    redirecting = Redirecting("http://gateway.test/data")
    with client_of(redirecting, USER) as client:
        assert not client.tells_blob_sizes("app", blob(CONTENT).digest)
    assert redirecting.gateway.requests == []
    with client_of(FakeRegistry(blobs={str(blob(CONTENT).digest): CONTENT})) as client:
        assert client.tells_blob_sizes("app", blob(CONTENT).digest)
        with pytest.raises(NotFoundError):
            client.tells_blob_sizes("app", blob(b"").digest)
    with client_of(lambda _: httpx.Response(200)) as client:
        assert not client.tells_blob_sizes("app", blob(CONTENT).digest)


def test_redirects_end() -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(307, headers={"Location": f"https://gateway.test/{len(seen)}"})

    with client_of(handle) as client, pytest.raises(ProtocolError, match="more than 5 redirects"):
        client.blob_size("app", blob(CONTENT).digest)
    assert len(seen) == 6


def test_a_write_is_never_redirected() -> None:
    redirect = httpx.Response(307, headers={"Location": "https://evil.test/"})
    registry = FakeRegistry(faults=[once(redirect, "PUT")])
    with client_of(registry) as client, pytest.raises(ProtocolError):
        client.put_manifest("app", "v1", image_bytes(), "application/vnd.oci.image.manifest.v1+json")
    assert len(registry.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (400, RefusedError), (405, RefusedError), (429, RegistryUnavailableError),
     (500, RegistryUnavailableError), (503, RegistryUnavailableError), (304, ProtocolError)],
)  # fmt: skip
def test_statuses_become_errors(status: int, kind: type[RegistryError]) -> None:
    with client_of(lambda _: error(status, "SOME_CODE")) as client, pytest.raises(kind) as caught:
        client.manifest("app", "v1")
    assert type(caught.value) is kind
    assert f"{URL}/v2/app/manifests/v1" in str(caught.value)
    if isinstance(caught.value, RefusedError):
        assert caught.value.codes == ("SOME_CODE",)
        assert caught.value.status == status


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors":null}', b'{"errors":[1]}', b"{" * 200_000]
)
def test_error_pages_of_any_kind_are_survived(body: bytes) -> None:
    with client_of(lambda _: httpx.Response(400, content=body)) as client, pytest.raises(RefusedError):
        client.manifest("app", "v1")


def test_signatures_in_urls_are_not_shown() -> None:
    redirect = httpx.Response(307, headers={"Location": "https://gateway.test/x?X-Amz-Signature=hush"})
    answers = [redirect, httpx.Response(403)]
    with client_of(lambda _: answers.pop(0)) as client, pytest.raises(RefusedError) as caught:
        client.blob_size("app", blob(b"").digest)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "problem",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("nonsense")],
)
def test_connection_problems_are_retry_later(problem: Exception) -> None:
    registry = FakeRegistry(faults=[broken(problem) for _ in range(4)])
    with client_of(registry) as client, pytest.raises(RegistryUnavailableError):
        client.manifest("app", "v1")
    assert len(registry.requests) == 4


def test_a_manifest_that_is_too_long_is_not_read() -> None:
    given = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                given.append(65536)
                yield b"x" * 65536

    with (
        client_of(lambda _: httpx.Response(200, stream=Endless())) as client,
        pytest.raises(ProtocolError, match="longer than"),
    ):
        client.manifest("app", "v1")
    assert sum(given) < 5 << 20


def test_compressed_answers_are_refused() -> None:
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Pieces([b"x"]))
    with client_of(lambda _: answer) as client, pytest.raises(ProtocolError, match="Content-Encoding"):
        client.manifest("app", "v1")


def test_requests_carry_no_cookies_and_ask_for_plain_bytes() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404, headers={"Set-Cookie": "a=b; Path=/"})

    with client_of(handle) as client:
        for _ in range(3):
            client.blob_size("app", blob(b"x").digest)
    assert not any("Cookie" in request.headers for request in seen)
    assert {request.headers["Accept-Encoding"] for request in seen} == {"identity"}


def test_a_registry_below_a_path() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "/proxy/v2/app/blobs/uploads/1"})
        return httpx.Response(404 if request.method == "HEAD" else 201)

    with client_of(handle, endpoint=RegistryEndpoint(f"{URL}/proxy/")) as client:
        client.put_blob("app", blob(b"x"), b"x")
    assert all(url.startswith(f"{URL}/proxy/v2/app/blobs/") for url in seen)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x"])
def test_a_wrong_length_is_seen_before_the_first_byte(content: bytes) -> None:
    registry = FakeRegistry(blobs={str(Digest.of(CONTENT)): content})
    with (
        client_of(registry) as client,
        client.open_blob("app", blob(CONTENT)) as stream,
        pytest.raises(SizeMismatchError) as caught,
    ):
        stream.read(1)
    assert caught.value.actual == len(content)


def test_an_unknown_authority_is_a_configuration_error() -> None:
    problem = httpx.ConnectError("handshake")
    problem.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    registry = FakeRegistry(faults=[broken(problem) for _ in range(9)])
    with client_of(registry) as client, pytest.raises(UntrustedCertificateError):
        client.tags("app")
    assert len(registry.requests) == 1  # trying again would not make it trusted


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"])  # OpenSSL 3.0, 3.2
def test_a_registry_without_tls_is_a_configuration_error(reason: str) -> None:
    answer = ssl.SSLError(1, f"[SSL: {reason}]")
    answer.reason = reason
    problem = httpx.ConnectError("handshake")
    problem.__cause__ = answer
    registry = FakeRegistry(faults=[broken(problem) for _ in range(9)])
    with client_of(registry) as client, pytest.raises(NoTlsError, match="does not speak TLS"):
        client.tags("app")
    assert len(registry.requests) == 1


def test_other_errors_of_tls_are_tried_again() -> None:
    problem = httpx.ConnectError("handshake")
    problem.__cause__ = ssl.SSLError(8, "unexpected end of file")
    registry = FakeRegistry(faults=[broken(problem) for _ in range(9)])
    with client_of(registry) as client, pytest.raises(RegistryUnavailableError):
        client.tags("app")
    assert len(registry.requests) > 1


@pytest.mark.parametrize(
    "url", ["registry.test", "ftp://registry.test", "https://", "https://u:p@registry.test", "https://r.test/?q=1"]
)  # fmt: skip
def test_registry_addresses_are_checked(url: str) -> None:
    with pytest.raises(ConfigurationError):
        RegistryEndpoint(url)


def test_a_missing_or_empty_ca_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path / "empty"):
        (tmp_path / "empty").write_text("no certificate")
        with pytest.raises(ConfigurationError, match=str(path)):
            RegistryEndpoint(URL, ca_file=path).tls_context()
