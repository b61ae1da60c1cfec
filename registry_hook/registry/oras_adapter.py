"""Lets a requests session (which oras builds on) send through our own session.

oras writes the host into every URL, and guesses it from the name: `my.app/x` would be a repository on a host.
It is therefore given a host that cannot exist, and this adapter puts the configured address in its place.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

import httpx
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from converter.oci.manifest import MAX_MANIFEST_BYTES
from registry_hook.registry.auth import repository_scopes
from registry_hook.registry.errors import ProtocolError
from registry_hook.registry.responses import raise_for_status, shown, translated_pieces
from registry_hook.registry.session import Call, Session

HOST: Final = "registry.invalid"  # RFC 2606: never resolves
_HEADERS: Final = frozenset({"accept", "content-type", "content-range"})


class SessionAdapter(BaseAdapter):
    """Sends requests about one repository."""

    def __init__(self, session: Session, repository: str) -> None:
        super().__init__()
        self._session = session
        self._repository = repository

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        *_: object,
        **__: object,
    ) -> requests.Response:
        """Sends a request; timeouts, certificates and proxies are our session's business.

        Raises:
            RegistryError: for every status that is an error, except 404 to a HEAD, which is an answer.
        """
        call = self._call(request)
        if not stream:
            answer = self._session.fetch(
                call, MAX_MANIFEST_BYTES, allowed=(404,) if call.method == "HEAD" else ()
            )
            return _response(request, answer.status, answer.headers, io.BytesIO(answer.body))
        with ExitStack() as stack:
            received = stack.enter_context(self._session.stream(call))
            raise_for_status(received)
            pieces = translated_pieces(received)
            return _response(request, received.status_code, received.headers, _Body(pieces, stack.pop_all()))

    def close(self) -> None:
        """Does nothing: the session belongs to the registry client."""

    def _call(self, request: requests.PreparedRequest) -> Call:
        method, url, body = request.method or "GET", httpx.URL(request.url or ""), request.body
        if not isinstance(body, bytes | None):
            raise ProtocolError(
                f"{method} {shown(url)}: a body of {type(body).__name__} is not expected of oras"
            )
        headers = {name: value for name, value in request.headers.items() if name.lower() in _HEADERS}
        actions = "pull" if method in ("GET", "HEAD") else "pull,push"
        target = self._session.below(url) if url.host == HOST else self._session.own_url(url)
        return Call(method, target, repository_scopes(self._repository, actions), headers, body)


class _Body:
    """What requests reads a streamed body from."""

    def __init__(self, pieces: Iterator[bytes], connection: ExitStack) -> None:
        self._pieces = pieces
        self._connection = connection

    def read(self, _: int = -1) -> bytes:
        """The next piece, of any length; empty at the end."""
        return next(self._pieces, b"")

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()


def _response(
    request: requests.PreparedRequest, status: int, headers: Mapping[str, str], raw: io.BytesIO | _Body
) -> requests.Response:
    response = requests.Response()
    response.request = request
    response.url = request.url or ""
    response.status_code = status
    response.headers = CaseInsensitiveDict(headers)
    response.raw = raw
    return response
