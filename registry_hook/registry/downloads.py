"""Downloads of blobs: verified while streaming, and taken up again where a connection broke."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import BinaryIO, Final

import httpx

from converter.oci import Descriptor
from registry_hook.registry.auth import repository_scopes
from registry_hook.registry.errors import ProtocolError, SizeMismatchError
from registry_hook.registry.responses import raise_for_status, shown, translated_pieces
from registry_hook.registry.retry import RetryPolicy
from registry_hook.registry.session import Call, Session
from registry_hook.registry.verified import open_verified

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


def open_blob(
    session: Session, retry: RetryPolicy, repository: str, descriptor: Descriptor
) -> AbstractContextManager[BinaryIO]:
    """Opens a blob; see RegistryClient.open_blob."""
    what = f"blob {repository}@{descriptor.digest}"
    open_at = partial(_open_at, session, repository, descriptor)
    return closing(open_verified(what, descriptor, open_at, retry))


@contextmanager
def _open_at(
    session: Session, repository: str, descriptor: Descriptor, start: int
) -> Iterator[Iterator[bytes]]:
    """Asks for the blob from the byte `start` on, and gives the pieces of what comes."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    path = f"{repository}/blobs/{descriptor.digest}"
    call = Call("GET", path, repository_scopes(repository, "pull"), headers)
    with session.stream(call) as response:
        if response.status_code == 416:  # There is no byte at `start`: the blob is shorter than it should be.
            raise SizeMismatchError(shown(response.url), descriptor.size, start)
        raise_for_status(response)
        yield _pieces(response, _surplus(response, descriptor, start))


def _surplus(response: httpx.Response, descriptor: Descriptor, start: int) -> int:
    """How many bytes before `start` the answer repeats, since the server ignored the Range."""
    where = shown(response.url)
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != start:
            raise ProtocolError(f"{where}: asked for bytes from {start}, got another range")
        total = match[3]
    else:
        total = response.headers.get("Content-Length", "*")
    # A wrong length is known before the first byte; the reader would only see a body that ends early.
    if total.isdigit() and int(total) != descriptor.size:
        raise SizeMismatchError(where, descriptor.size, int(total))
    return 0 if response.status_code == 206 else start


def _pieces(response: httpx.Response, surplus: int) -> Iterator[bytes]:
    for piece in translated_pieces(response):
        if surplus >= len(piece):
            surplus -= len(piece)
            continue
        yield piece[surplus:] if surplus else piece
        surplus = 0
