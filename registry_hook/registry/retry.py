"""The one place where requests to a registry are repeated.

`RetryTransport` repeats whole requests below the HTTP client; the blob reader and the uploader, which
continue instead of repeating, count their attempts with the same `Attempts`. Nothing above repeats: the job
engine's own retries are off for steps that talk to a registry.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx

from registry_hook.registry.errors import RegistryUnavailableError

Result = TypeVar("Result")

# Answers that say "not now". 500 is missing on purpose: Distribution gives it for lasting faults of its
# storage.
RETRY_STATUS: Final = frozenset({429, 502, 503, 504})
# What OpenSSL calls an answer that is no TLS record: 3.0 and 3.1, and later ones.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
REPEATABLE: Final = "dragonhook.repeatable"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a request is repeated.

    Args:
        attempts: number of tries in all, at least 1.
        first_pause_s: upper bound of the first pause in seconds; each further bound is twice the one before.
        longest_pause_s: bound of every pause, also of one that the registry asks for with `Retry-After`.
        sleep: waits for a number of seconds.
        fraction: a random number in [0, 1), which spreads the pauses of many clients (full jitter).
    """

    attempts: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    fraction: Callable[[], float] = random.random

    def start(self) -> Attempts:
        """Begins counting for one operation."""
        return Attempts(self)

    def run(self, action: Callable[[], Result]) -> Result:
        """Calls `action` until it does not end with RegistryUnavailableError, or the attempts are used up."""
        attempts = self.start()
        while True:
            try:
                return action()
            except RegistryUnavailableError:
                if not attempts.again():
                    raise


class Attempts:
    """The failures of one operation so far."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0

    def again(self, retry_after_s: float | None = None) -> bool:
        """Counts a failure and waits, if another attempt is left.

        Args:
            retry_after_s: the pause that the other side asked for, in seconds.

        Returns:
            Whether to try again; the pause is over then.
        """
        self._failures += 1
        if self._failures >= self._policy.attempts:
            return False
        bound = min(self._policy.longest_pause_s, self._policy.first_pause_s * 2 ** (self._failures - 1))
        pause = bound * self._policy.fraction()
        if retry_after_s is not None:
            pause = min(max(pause, retry_after_s), self._policy.longest_pause_s)
        self._policy.sleep(pause)
        return True

    def progressed(self) -> None:
        """Forgets the failures, since the operation got on in between."""
        self._failures = 0


class RetryTransport(httpx.BaseTransport):
    """Repeats requests that may be repeated, when the connection or the registry failed.

    A request may be repeated when its method is idempotent, unless it says otherwise by the extension
    `REPEATABLE`; any request may be repeated whose connection was never made.
    """

    def __init__(self, inner: httpx.BaseTransport, policy: RetryPolicy) -> None:
        self._inner = inner
        self._policy = policy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request as often as needed and allowed.

        Raises:
            httpx.TransportError: what the last attempt raised.
        """
        repeatable = bool(request.extensions.get(REPEATABLE, request.method in _IDEMPOTENT))
        attempts = self._policy.start()
        while True:
            try:
                response = self._inner.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if is_untrusted(error) or lacks_tls(error) or not attempts.again():
                    raise
            except httpx.TransportError:
                if not repeatable or not attempts.again():
                    raise
            else:
                refused = repeatable and response.status_code in RETRY_STATUS
                if not refused or not attempts.again(_retry_after_s(response)):
                    return response
                response.close()

    def close(self) -> None:
        """Closes the pooled connections."""
        self._inner.close()


def is_untrusted(error: BaseException) -> bool:
    """Whether a connection failed because the server's certificate is not to be trusted."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def lacks_tls(error: BaseException) -> bool:
    """Whether no connection was made because the server answered with something else than TLS."""
    # Later, in a connection that was made, the same reason means damage on the way.
    return isinstance(error, httpx.ConnectError) and any(
        isinstance(cause, ssl.SSLError) and getattr(cause, "reason", None) in _NO_TLS
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after_s(response: httpx.Response) -> float | None:
    """The seconds form of `Retry-After`; its date form is left to the policy's own pauses."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
