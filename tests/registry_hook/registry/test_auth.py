"""The token flow and basic authentication, over the whole client."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field

import httpx
import pytest

from registry_hook.registry import (
    Credential,
    DeniedError,
    FixedCredentials,
    ProtocolError,
    RegistryClient,
    RegistryEndpoint,
    RegistryUnavailableError,
    UnauthorizedError,
)
from registry_hook.registry.auth import Authorizer
from tests.registry_hook.registry.fake import FakeRegistry, blob, client_of, once

USER = FixedCredentials({"registry.test": Credential("user", "pa:ss")})
BASIC = "Basic " + base64.b64encode(b"user:pa:ss").decode()


@dataclass
class TokenGuarded:
    """A registry behind a token server; tokens name their scopes."""

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    realm: str = "https://auth.test/token?x=1"
    expires_in: int | None = 300
    anonymous: tuple[str, ...] = ("pull",)
    asked: list[httpx.Request] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            return self._token(request)
        sent = request.headers.get("Authorization", "")
        self.seen.append((request.method, sent))
        needed = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        repository = request.url.path.split("/")[2]
        token = sent.removeprefix("Bearer ")
        if needed.split(",")[-1] in token and repository in token and token not in self.revoked:
            return self.registry(request)
        scope = f"repository:{repository}:{needed}"
        challenge = f'Bearer realm="{self.realm}",service="svc",scope="{scope}"'
        if token:
            challenge += ',error="insufficient_scope"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    def _token(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "POST":
            return self._answer(dict(httpx.QueryParams(request.content.decode()))["scope"])
        given = request.headers.get("Authorization")
        if given not in (None, BASIC):
            return httpx.Response(401)
        scopes = request.url.params.get_list("scope")
        if given is None:
            scopes = [
                f"{scope.rpartition(':')[0]}:{action}"
                for scope in scopes
                for action in self.anonymous
                if action in scope
            ]
        return self._answer(" ".join(scopes))

    def _answer(self, granted: str) -> httpx.Response:
        lifetime = {"expires_in": self.expires_in} if self.expires_in is not None else {}
        return httpx.Response(
            200, json={"token": f"{len(self.asked)};{granted.replace(' ', ';')}", **lifetime}
        )


def test_a_registry_without_auth_gets_no_credentials() -> None:
    registry = FakeRegistry()
    with client_of(registry, USER) as client:
        client.blob_size("app", blob(b"x").digest)
    assert "Authorization" not in registry.requests[0].headers


def test_a_token_is_fetched_once_per_scope() -> None:
    guarded = TokenGuarded()
    with client_of(guarded, USER) as client:
        for _ in range(5):
            client.blob_size("app", blob(b"x").digest)
        client.put_blob("app", blob(b"x"), b"x")
    assert len(guarded.asked) == 2
    first = guarded.asked[0]
    assert first.headers["Authorization"] == BASIC
    assert dict(first.url.params) == {"x": "1", "service": "svc", "scope": "repository:app:pull"}
    assert [sent for _, sent in guarded.seen].count("") == 1  # only the very first request was sent in vain
    assert not any(sent.startswith("Basic") for _, sent in guarded.seen)


def test_an_anonymous_token_is_enough_to_pull() -> None:
    guarded = TokenGuarded()
    guarded.registry.blobs[str(blob(b"x").digest)] = b"x"
    with client_of(guarded) as client:
        assert client.blob_size("app", blob(b"x").digest) == 1
        with pytest.raises(DeniedError):
            client.put_blob("app", blob(b"new"), b"new")
    assert all("Authorization" not in request.headers for request in guarded.asked)


def test_wrong_credentials_are_not_repeated() -> None:
    guarded = TokenGuarded()
    wrong = FixedCredentials({"registry.test": Credential("user", "wrong")})
    with client_of(guarded, wrong) as client, pytest.raises(UnauthorizedError, match="'user'") as caught:
        client.blob_size("app", blob(b"x").digest)
    assert len(guarded.asked) == 1
    assert "wrong" not in str(caught.value)


def test_a_token_that_the_registry_stops_to_accept_is_replaced() -> None:
    guarded = TokenGuarded()
    with client_of(guarded, USER) as client:
        client.blob_size("app", blob(b"x").digest)
        guarded.revoked.add("1;repository:app:pull")
        client.blob_size("app", blob(b"x").digest)
    assert len(guarded.asked) == 2


def test_an_identity_token_is_exchanged() -> None:
    guarded = TokenGuarded()
    source = FixedCredentials({"registry.test": Credential("", "refresh-me", is_identity_token=True)})
    with client_of(guarded, source) as client:
        client.blob_size("app", blob(b"x").digest)
    form = dict(httpx.QueryParams(guarded.asked[0].content.decode()))
    assert form["grant_type"] == "refresh_token"
    assert form["refresh_token"] == "refresh-me"
    assert form["service"] == "svc"


def test_a_mount_asks_for_both_repositories() -> None:
    guarded = TokenGuarded()
    with client_of(guarded, USER) as client:
        client.put_blob("warm", blob(b"1"), b"1")
        client.put_blob("app", blob(b"x"), b"x", mount_from="base")
    scopes = [request.url.params.get_list("scope") for request in guarded.asked]
    assert ["repository:app:pull,push", "repository:base:pull"] in scopes


@pytest.mark.parametrize("realm", ["http://auth.test/token", "ftp://auth.test/", "/token", ""])
def test_the_password_does_not_go_to_a_realm_less_protected_than_the_registry(realm: str) -> None:
    guarded = TokenGuarded(realm=realm)
    with client_of(guarded, USER) as client, pytest.raises(ProtocolError, match=r"registry\.test"):
        client.blob_size("app", blob(b"x").digest)
    assert guarded.asked == []


def test_a_plain_http_registry_may_have_a_plain_http_realm() -> None:
    guarded = TokenGuarded(realm="http://auth.test/token")
    with client_of(guarded, USER, endpoint=RegistryEndpoint("http://registry.test")) as client:
        assert client.blob_size("app", blob(b"x").digest) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"token":5}', b'{"token":""}', b'{"token":"a b"}',
     b'{"token":"a\\r\\nX: y"}',
     b'{"token":"' + b"a" * 70_000 + b'"}', b'{"token":"' + b"a" * 300_000 + b'"}'],
)  # fmt: skip
def test_an_unusable_token_is_an_error(body: bytes) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            return httpx.Response(200, content=body)
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.test/"'})

    with client_of(handle, USER) as client, pytest.raises(ProtocolError):
        client.blob_size("app", blob(b"x").digest)


def test_a_token_server_that_is_down_is_no_refusal() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            return httpx.Response(503)
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.test/"'})

    with client_of(handle, USER) as client, pytest.raises(RegistryUnavailableError):
        client.blob_size("app", blob(b"x").digest)


def test_tokens_are_renewed_before_they_expire() -> None:
    now = [1000.0]
    answers = [b'{"token":"a","expires_in":100}', b'{"access_token":"b"}', b'{"token":"c","expires_in":"x"}']
    authorizer = Authorizer(
        RegistryEndpoint("https://registry.test"), USER, lambda _: (200, answers.pop(0)), lambda: now[0]
    )
    scopes = ("repository:app:pull",)
    assert authorizer.header(scopes) is None
    assert authorizer.answer(['Bearer realm="https://auth.test/"'], scopes, None) == "Bearer a"
    now[0] += 74
    assert authorizer.header(scopes) == "Bearer a"
    now[0] += 2  # a quarter of 100 s before its end
    assert authorizer.header(scopes) == "Bearer b"
    now[0] += 44  # a token without a lifetime has 60 s
    assert authorizer.header(scopes) == "Bearer b"
    now[0] += 2
    assert authorizer.header(scopes) == "Bearer c"


def test_a_lifetime_beyond_all_numbers_is_an_unknown_one() -> None:
    guarded = TokenGuarded(expires_in=10**400)
    with client_of(guarded, USER) as client:
        for _ in range(2):
            client.blob_size("app", blob(b"x").digest)
    assert len(guarded.asked) == 1


def test_many_threads_share_one_token() -> None:
    guarded = TokenGuarded()
    lock = threading.Lock()

    def handle(request: httpx.Request) -> httpx.Response:
        with lock:
            return guarded(request)

    with client_of(handle, USER) as client:
        client.blob_size("app", blob(b"x").digest)
        threads = [
            threading.Thread(target=client.put_blob, args=("app", blob(bytes([n])), bytes([n])))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(guarded.registry.blobs) == 8
    assert len(guarded.asked) == 2


class BasicGuarded(FakeRegistry):
    """A registry that asks for user and password."""

    expected = BASIC

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") == self.expected:
            return super().__call__(request)
        self.requests.append(request)
        return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="r"'})


def test_basic_authentication() -> None:
    guarded = BasicGuarded()
    with client_of(guarded, USER) as client:
        client.put_blob("app", blob(b"x"), b"x")
        client.put_blob("app", blob(b"x"), b"x")
    sent = [request.headers.get("Authorization") for request in guarded.requests]
    assert sent.count(None) == 1
    assert sent.count(BASIC) == len(sent) - 1


def test_basic_authentication_without_credentials_says_so() -> None:
    with client_of(BasicGuarded()) as client, pytest.raises(UnauthorizedError, match="no credentials"):
        client.tags("app")


class Rotating:
    """A source whose password was changed after it had been read."""

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:
        return Credential("user", "pa:ss" if fresh else "old")


def test_a_refused_password_is_read_anew_once() -> None:
    guarded = BasicGuarded()
    with client_of(guarded, Rotating()) as client:
        with pytest.raises(UnauthorizedError):  # the first answer is to the challenge, and is refused
            client.tags("app")
        assert client.tags("app") == []
    assert len(guarded.requests) == 4


def test_both_schemes_offered_means_token() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            return httpx.Response(200, json={"token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return httpx.Response(404)
        return httpx.Response(
            401, headers={"WWW-Authenticate": 'Basic realm="r", Bearer realm="https://auth.test/"'}
        )

    with client_of(handle, USER) as client:
        assert client.tags("app") == []


@pytest.mark.parametrize("headers", [{}, {"WWW-Authenticate": "Negotiate"}])
def test_an_unknown_scheme_is_a_refusal(headers: dict[str, str]) -> None:
    with (
        client_of(lambda _: httpx.Response(401, headers=headers), USER) as client,
        pytest.raises(UnauthorizedError, match="offers no authentication"),
    ):
        client.tags("app")


def test_denied() -> None:
    registry = FakeRegistry(faults=[once(httpx.Response(403, content=json.dumps({"errors": []}).encode()))])
    client: RegistryClient
    with client_of(registry) as client, pytest.raises(DeniedError) as caught:
        client.tags("app")
    assert caught.value.status == 403
