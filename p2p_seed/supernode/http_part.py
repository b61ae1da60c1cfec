"""One part of a P2P engine that speaks HTTP: asked within bounds, read from and hashed, its errors made ours.

Nothing is tried twice here: who asks for a seeding repeats it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from converter.oci import Digest
from p2p_seed.errors import EngineConfigurationError, EngineError, EngineUnavailableError

QUICK_S: Final = 10.0
"""How long an answer may take that moves no content."""

_CONNECT_S: Final = 5.0
_ANSWER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 20
_REFUSED: Final = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_LATER: Final = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer without content, or with little.

    Args:
        status: one of those that were expected.
        headers: as they came.
        text: the body, of at most 1 MiB.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    def member(self, name: str) -> Any:
        """A member of the JSON object that came, or None where there is no such object or member."""
        try:
            document = json.loads(self.text)
        except ValueError:
            return None
        return document.get(name) if isinstance(document, dict) else None


@dataclass(frozen=True, slots=True)
class Content:
    """What was read of a blob.

    Args:
        digest: SHA-256 of it.
        size: how much was read: all of it, or one read more than was wanted.
        headers: of the answer.
    """

    digest: Digest
    size: int
    headers: Mapping[str, str]


class HttpPart:
    """A server that an engine needs.

    Args:
        what: calls it in messages, with its URL: `the SuperNode`.
        url: its base URL.
        proxy: ask through this proxy.
        headers: of every request.
        stall_s: how long content may pause, and how long it may take to begin.
    """

    def __init__(
        self,
        what: str,
        url: str,
        *,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        stall_s: float = 60.0,
    ) -> None:
        self.where = f"{what} {proxy or url}"
        # Without trust_env=False a proxy of the environment would stand between us and the peer.
        self._client = httpx.Client(
            base_url=url, proxy=proxy, headers=dict(headers or {}), trust_env=False,
            timeout=httpx.Timeout(stall_s, connect=_CONNECT_S),
        )  # fmt: skip

    def ask(
        self,
        method: str,
        path: str,
        expected: Collection[int] = (200,),
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a request that moves no content.

        Args:
            method: GET, HEAD, POST or DELETE.
            path: below the base URL.
            expected: the statuses that the caller understands.
            body: sent as JSON, if it is not None.
            params: the query.

        Raises:
            EngineConfigurationError: it does not let us.
            EngineUnavailableError: it does not answer, is overloaded, or failed.
            EngineError: it answers something else, or too much.
        """
        timeout = httpx.Timeout(QUICK_S, connect=_CONNECT_S)
        with self._errors():
            request = self._client.build_request(method, path, json=body, params=params, timeout=timeout)
            answer = self._client.send(request, stream=True)
            try:
                text = self._text(answer)
            finally:
                answer.close()
        if answer.status_code in expected:
            return Answer(answer.status_code, answer.headers, text)
        raise self._refusal(f"{method} {path}", answer.status_code, text)

    def read(
        self, url: str, size: int, alive: Callable[[], None], headers: Mapping[str, str] | None = None
    ) -> Content:
        """Reads content and hashes it, and not much more than was wanted.

        Args:
            url: what to read; absolute, or below the base URL.
            size: how long it should be.
            alive: called now and then; what it raises ends the reading.
            headers: of this request.

        Raises:
            EngineError: it cannot be read. See `ask`.
        """
        content = hashlib.sha256()
        got = 0
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        with self._errors(), self._client.stream("GET", url, headers=sent) as answer:
            if answer.status_code != httpx.codes.OK:
                raise self._refusal("reading a blob", answer.status_code, self._text(answer))
            for part in answer.iter_raw(_READ_BYTES):
                content.update(part)
                got += len(part)
                alive()
                if got > size:
                    break
        return Content(Digest(content.hexdigest()), got, answer.headers)

    def answers(self, path: str) -> str | None:
        """What is wrong with it, in one line; None if it answers 200."""
        try:
            self.ask("GET", path)
        except EngineError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Closes connections."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise EngineUnavailableError(
                f"{self.where} does not answer ({type(error).__name__}: {error})"
            ) from error

    def _text(self, answer: httpx.Response) -> str:
        body = bytearray()
        for part in answer.iter_bytes(_READ_BYTES):
            body += part
            if len(body) > _ANSWER_BYTES:
                raise EngineError(
                    f"{self.where} answers with more than {_ANSWER_BYTES} bytes: is it the right URL?"
                )
        return body.decode(errors="replace")

    def _refusal(self, request: str, status: int, text: str) -> EngineError:
        message = f"{self.where} answered {status} to {request}: {_quoted(text)}"
        if status in _REFUSED:
            return EngineConfigurationError(message)
        if status >= 500 or status in _LATER:
            return EngineUnavailableError(message)
        return EngineError(message)


def _quoted(text: str) -> str:
    """The beginning of what the other side said, without the signed URLs that it may quote."""
    return " ".join(word for word in text.split() if "Signature=" not in word)[:300] or "(nothing)"
