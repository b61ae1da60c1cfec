"""Requests to one registry: address, TLS, authorization, redirects.

Owns httpx. The registry's credentials go to the registry's own origin (scheme, host and port) and nowhere
else; therefore redirects are followed by hand. Environment variables, netrc files and cookies are never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from registry_hook.registry.auth import Authorizer, Scopes
from registry_hook.registry.credentials import CredentialSource
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.errors import ConfigurationError, ProtocolError
from registry_hook.registry.responses import raise_for_status, read_bounded, shown, translated
from registry_hook.registry.retry import REPEATABLE, RetryPolicy, RetryTransport

_MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_TOKEN_ANSWER_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the registry.

    Args:
        method: HTTP method.
        url: path below `/v2/`, or a URL that the registry gave us.
        scopes: what the request needs of a token.
        headers: headers beside the usual ones.
        content: the body, or what gives its pieces anew for each time it is sent.
        repeatable: whether it may be sent twice; None: if its method is idempotent.
        follow: whether to go where the registry redirects a GET or HEAD to.
    """

    method: str
    url: str | httpx.URL
    scopes: Scopes
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Callable[[], Iterator[bytes]] | None = None
    repeatable: bool | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole."""

    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes


class Session:
    """Sends calls to one registry; may be used by many threads."""

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        credentials: CredentialSource,
        retry: RetryPolicy,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._base = httpx.URL(endpoint.url.rstrip("/") + "/v2/")
        inner = transport or httpx.HTTPTransport(verify=endpoint.tls_context(), trust_env=False)
        self._http = httpx.Client(
            transport=RetryTransport(inner, retry),
            timeout=httpx.Timeout(endpoint.read_timeout_s, connect=endpoint.connect_timeout_s),
            # Compressed answers would break lengths, ranges and digests.
            headers={"User-Agent": "dragonhook", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )
        self._authorizer = Authorizer(endpoint, credentials, self._fetch_token)

    def close(self) -> None:
        """Closes the pooled connections."""
        self._http.close()

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx.Response]:
        """Sends a call and gives the answer with its body unread.

        Raises:
            RegistryUnavailableError: no answer.
            UnauthorizedError, CredentialsError: a 401 that we cannot answer.
            ProtocolError: a redirect that we do not follow.
        """
        with translated(f"{call.method} {shown(self.absolute(call.url))}"):
            response = self._send(call)
            try:
                yield response
            finally:
                response.close()

    def fetch(self, call: Call, limit_bytes: int, allowed: tuple[int, ...] = ()) -> Answer:
        """Sends a call and reads the answer.

        Args:
            call: what to send.
            limit_bytes: longest body to accept.
            allowed: error statuses that the caller handles itself.

        Raises:
            RegistryError: the statuses and failures of the error tree.
        """
        with self.stream(call) as response:
            if response.status_code not in allowed:
                raise_for_status(response)
            body = read_bounded(response, limit_bytes) if call.method != "HEAD" else b""
            return Answer(response.url, response.status_code, response.headers, body)

    def absolute(self, url: str | httpx.URL) -> httpx.URL:
        """The full URL of a call."""
        return self._base.join(url)

    def next_url(self, answer: Answer, target: str) -> httpx.URL:
        """Resolves an address that the registry gave: an upload's `Location`, a page's `Link`.

        Raises:
            ProtocolError: it is malformed, or points to another host.
        """
        try:
            return self.own_url(answer.url.join(target))
        except httpx.InvalidURL as error:
            raise ProtocolError(f"{self._endpoint.host} gave an invalid address: {error}") from error

    def own_url(self, url: httpx.URL) -> httpx.URL:
        """The address of the registry that `url` is meant to be.

        A registry behind a proxy may write another scheme than the one we use; the origin stays ours.

        Raises:
            ProtocolError: it points to another host.
        """
        if url.netloc != self._base.netloc:
            raise ProtocolError(
                f"{self._endpoint.host} names {url.netloc.decode('ascii', 'replace')} as its own address: "
                "check the http.host setting of the registry"
            )
        return self._base.copy_with(raw_path=url.raw_path)

    def below(self, url: httpx.URL) -> httpx.URL:
        """The address that `url`, written for a registry at the root of some host, has in this one."""
        return self._base.join(url.raw_path.decode("ascii").removeprefix("/v2/"))

    def _send(self, call: Call) -> httpx.Response:
        url = self.absolute(call.url)
        for _ in range(_MAX_REDIRECTS + 1):
            if _origin(url) == _origin(self._base):
                response = self._send_authorized(call, url)
            else:
                response = self._send_once(call, url, None)
            redirected = call.method in ("GET", "HEAD") and response.status_code in REDIRECTS
            if not (redirected and call.follow):
                return response
            response.close()
            url = self._redirect_target(url, response)
        raise ProtocolError(f"{shown(self.absolute(call.url))}: more than {_MAX_REDIRECTS} redirects")

    def _send_authorized(self, call: Call, url: httpx.URL) -> httpx.Response:
        sent = self._authorizer.header(call.scopes)
        response = self._send_once(call, url, sent)
        if response.status_code != 401:
            return response
        response.close()
        challenges = response.headers.get_list("WWW-Authenticate")
        return self._send_once(call, url, self._authorizer.answer(challenges, call.scopes, sent))

    def _send_once(self, call: Call, url: httpx.URL, authorization: str | None) -> httpx.Response:
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        content = call.content() if callable(call.content) else call.content
        request = self._http.build_request(call.method, url, headers=headers, content=content)
        if call.repeatable is not None:
            request.extensions[REPEATABLE] = call.repeatable
        return self._http.send(request, stream=True, follow_redirects=False)

    def _redirect_target(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        try:
            target = url.join(response.headers["Location"])
        except (KeyError, httpx.InvalidURL) as error:
            raise ProtocolError(f"{shown(url)}: redirect without a usable Location") from error
        if target.scheme not in ("http", "https") or not target.host:
            raise ProtocolError(f"{shown(url)}: redirect to {shown(target)}")
        downgrade = url.scheme == "https" and target.scheme == "http"
        if downgrade and not self._endpoint.plain_http_redirects:
            raise ConfigurationError(
                f"{shown(url)} redirects to plain HTTP ({shown(target)}): give the target TLS, or allow it "
                "by the registry's plain_http_redirects setting"
            )
        return target

    def _fetch_token(self, request: httpx.Request) -> tuple[int, bytes]:
        request.headers["User-Agent"] = "dragonhook"
        request.extensions = {**request.extensions, "timeout": self._http.timeout.as_dict(), REPEATABLE: True}
        with translated(f"{request.method} {shown(request.url)}"):
            response = self._http.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code == 429 or response.status_code >= 500:
                    raise_for_status(response)
                return response.status_code, read_bounded(response, _MAX_TOKEN_ANSWER_BYTES)
            finally:
                response.close()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
