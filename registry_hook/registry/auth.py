"""Answers a registry's 401: basic authentication, and tokens of a token server.

Sources: RFC 9110 §11 (challenges), RFC 7617 (Basic), the Distribution documents "Token Authentication" and
"OAuth2 Token Authentication" (3.1.2). Tokens are kept per scope until shortly before they expire, so that a
long job asks for one a few times and not before each request.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import httpx

from registry_hook.registry.challenges import Challenge, parse_challenges
from registry_hook.registry.credentials import Credential, CredentialSource
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.errors import ProtocolError, UnauthorizedError

Scopes: TypeAlias = tuple[str, ...]

CATALOG_SCOPES: Final[Scopes] = ("registry:catalog:*",)
_DEFAULT_LIFETIME_S: Final = 60  # for answers without expires_in
_LONGEST_LIFETIME_S: Final = 1e9  # JSON can hold infinity, and integers that no float can
_MAX_TOKENS: Final = 1000
_MAX_TOKEN_CHARACTERS: Final = 64 * 1024


def repository_scopes(repository: str, actions: str) -> Scopes:
    """The scope for `actions` (such as `pull,push`) on a repository."""
    return (f"repository:{repository}:{actions}",)


class FetchToken(Protocol):
    """Sends a request to a token server."""

    def __call__(self, request: httpx.Request) -> tuple[int, bytes]:
        """Gives the status and the bounded body of the answer."""
        ...


class Authorizer:
    """The `Authorization` header for each request to one registry; may be used by many threads.

    Args:
        endpoint: the registry.
        credentials: where its credential comes from.
        fetch: sends a request to the token server.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        credentials: CredentialSource,
        fetch: FetchToken,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._fetch = fetch
        self._clock = clock
        # Held while a token is fetched: threads that need the same one wait for it instead of fetching too.
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, tuple[str, float]] = {}

    def header(self, scopes: Scopes) -> str | None:
        """What to send at first: nothing, until the registry has asked once."""
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                return self._basic(fresh=False)
            token, expires = self._tokens.get(scopes, ("", 0.0))
            if not token or self._clock() >= expires:
                token = self._renew(self._challenge, scopes, scopes, fresh=False)
            return f"Bearer {token}"

    def answer(self, headers: Sequence[str], scopes: Scopes, refused: str | None) -> str:
        """What to send after a 401.

        Args:
            headers: the values of `WWW-Authenticate`.
            scopes: what the request needs.
            refused: the `Authorization` that was sent, if any.

        Raises:
            UnauthorizedError: there is nothing (else) to send.
            CredentialsError: the credential cannot be read.
        """
        challenge = self._choose(headers)
        with self._lock:
            self._challenge = challenge
            if challenge.scheme == "basic":
                header = self._basic(fresh=refused is not None)
                if header is None or header == refused:
                    raise UnauthorizedError(f"{self._endpoint.host}: user name or password refused", 401)
                return header
            token, expires = self._tokens.get(scopes, ("", 0.0))
            if refused not in (None, f"Bearer {token}") and self._clock() < expires:
                return f"Bearer {token}"  # another thread has renewed it meanwhile
            asked = tuple(challenge.parameters.get("scope", "").split()) or scopes
            return f"Bearer {self._renew(challenge, asked, scopes, fresh=refused is not None)}"

    def _choose(self, headers: Sequence[str]) -> Challenge:
        challenges = parse_challenges(headers)
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme != scheme:
                    continue
                if scheme == "basic" and self._credentials.credential(self._endpoint.host) is None:
                    raise UnauthorizedError(
                        f"{self._endpoint.host} asks for a user name and password, but no credentials are "
                        "configured for it",
                        401,
                    )
                return challenge
        offered = ", ".join(sorted({challenge.scheme for challenge in challenges})) or "none"
        raise UnauthorizedError(
            f"{self._endpoint.host} offers no authentication that we know (offered: {offered})", 401
        )

    def _basic(self, *, fresh: bool) -> str | None:
        credential = self._credentials.credential(self._endpoint.host, fresh=fresh)
        if credential is None or credential.is_identity_token:
            return None
        return _basic_header(credential)

    def _renew(self, challenge: Challenge, asked: Scopes, scopes: Scopes, *, fresh: bool) -> str:
        """Fetches a token for the scopes `asked`, and keeps it for requests that need `scopes`."""
        credential = self._credentials.credential(self._endpoint.host, fresh=fresh)
        status, body = self._fetch(self._token_request(challenge, asked, credential))
        if status != 200:
            who = f"user {credential.username!r}" if credential else "anonymous access"
            raise UnauthorizedError(
                f"token server of {self._endpoint.host} refused {who} with {status} for {' '.join(asked)}",
                status,
            )
        token, lifetime_s = _parse_token(body, self._endpoint.host)
        if len(self._tokens) >= _MAX_TOKENS:
            self._tokens.clear()
        # A token is given up before its end, since it has to live until the registry has looked at it.
        self._tokens[scopes] = (token, self._clock() + lifetime_s - min(30.0, lifetime_s / 4))
        return token

    def _token_request(
        self, challenge: Challenge, scopes: Scopes, credential: Credential | None
    ) -> httpx.Request:
        realm = challenge.parameters.get("realm", "")
        # The realm gets the password: it may not be less protected than the registry itself.
        if not realm.startswith("https://" if self._endpoint.secure else ("https://", "http://")):
            raise ProtocolError(
                f"{self._endpoint.host} names the token server {realm[:200]!r}, which would get the password "
                "less protected than the registry does"
            )
        service = challenge.parameters.get("service", "")
        if credential is not None and credential.is_identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": credential.secret, "service": service}
            form |= {"client_id": "dragonhook", "scope": " ".join(scopes)}
            return httpx.Request("POST", realm, data=form)
        parameters: dict[str, str | Scopes] = {"scope": scopes}
        if service:
            parameters["service"] = service
        headers = {"Authorization": _basic_header(credential)} if credential else {}
        url = httpx.URL(realm)
        return httpx.Request("GET", url.copy_merge_params(parameters), headers=headers)


def _basic_header(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def _parse_token(body: bytes, host: str) -> tuple[str, float]:
    """The token and its lifetime in seconds."""
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
        lifetime_s = document.get("expires_in", _DEFAULT_LIFETIME_S)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"token server of {host}: the answer is not a JSON object") from error
    usable = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    if not usable or len(token) > _MAX_TOKEN_CHARACTERS:
        raise ProtocolError(f"token server of {host}: the answer holds no usable token")
    number = isinstance(lifetime_s, int | float) and not isinstance(lifetime_s, bool)
    if not number or not 0 < lifetime_s < _LONGEST_LIFETIME_S:
        lifetime_s = _DEFAULT_LIFETIME_S
    return token, float(lifetime_s)
