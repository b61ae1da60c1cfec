"""What comes back from a registry: bodies in bounds, and failures as our errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from registry_hook.registry.errors import (
    DeniedError,
    NotFoundError,
    NoTlsError,
    ProtocolError,
    RefusedError,
    RegistryUnavailableError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from registry_hook.registry.retry import is_untrusted, lacks_tls

_MAX_ERROR_BYTES: Final = 64 * 1024


def shown(url: httpx.URL) -> str:
    """A URL for messages: without its query, which may hold a signature."""
    return str(url.copy_with(query=None, userinfo=b""))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns httpx's errors into ours.

    Args:
        what: the request, for the message.
    """
    try:
        yield
    except httpx.TransportError as error:
        if is_untrusted(error):
            raise UntrustedCertificateError(f"{what}: {error}") from error
        if lacks_tls(error):
            raise NoTlsError(f"{what}: the server does not speak TLS") from error
        raise RegistryUnavailableError(f"{what}: {error or type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ProtocolError(f"{what}: {error or type(error).__name__}") from error


def read_bounded(response: httpx.Response, limit_bytes: int) -> bytes:
    """Reads a body.

    Raises:
        ProtocolError: it is longer than `limit_bytes`, or compressed.
    """
    body = bytearray()
    for piece in raw_pieces(response):
        body += piece
        if len(body) > limit_bytes:
            raise ProtocolError(f"{shown(response.url)}: the answer is longer than {limit_bytes} bytes")
    return bytes(body)


def raw_pieces(response: httpx.Response) -> Iterator[bytes]:
    """The bytes of a body as they come.

    Raises:
        ProtocolError: the body is compressed, although we asked for it as it is.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise ProtocolError(f"{shown(response.url)}: unwanted Content-Encoding {encoding[:40]!r}")
    return response.iter_raw()


def translated_pieces(response: httpx.Response) -> Iterator[bytes]:
    """The bytes of a body as they come; RegistryUnavailableError where the connection breaks."""
    with translated(f"GET {shown(response.url)}"):
        yield from raw_pieces(response)


def raise_for_status(response: httpx.Response) -> None:
    """Raises the error of the tree that belongs to an answer's status; does nothing for 2xx."""
    status = response.status_code
    if 200 <= status < 300:
        return
    codes, detail = _error_codes(response)
    message = f"{response.request.method} {shown(response.request.url)}: {status} {detail}".rstrip()
    if status == 429 or status >= 500:
        raise RegistryUnavailableError(message)
    if status < 400:
        raise ProtocolError(f"{message} is not an answer that we expect")
    kinds = {401: UnauthorizedError, 403: DeniedError, 404: NotFoundError}
    kind: type[RefusedError] = kinds.get(status, RefusedError)
    if status == 401 and "insufficient_scope" in response.headers.get("WWW-Authenticate", ""):
        kind = DeniedError
    raise kind(message, status, codes)


def _error_codes(response: httpx.Response) -> tuple[tuple[str, ...], str]:
    """The codes of an error answer (distribution spec 1.1, "Error Codes"), and a short text of it."""
    if response.request.method == "HEAD":
        return (), ""
    try:
        errors = json.loads(read_bounded(response, _MAX_ERROR_BYTES))["errors"]
        codes = tuple(str(error["code"])[:80] for error in errors)
        return codes, ", ".join(f"{error['code']}: {error.get('message', '')}"[:300] for error in errors[:3])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ProtocolError):
        return (), ""  # Many proxies answer with a page of their own; the status says enough.
