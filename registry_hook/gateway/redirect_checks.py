"""Whether a request may have the blob that it names.

A check looks at nothing but the request line and the `Host` header. What it refuses is answered with 403 and
no body: 403 sends nydusd back to the registry for another redirect, other statuses do not. The reason goes to
the log, and never quotes the query, which is a credential for as long as its signature is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class RedirectRefusedError(Exception):
    """The request may not have the blob.

    Args:
        reason: for the log, in a few words; nothing of the query but times.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RedirectCheck(Protocol):
    """One way to tell."""

    def check(self, method: str, target: str, host: str, now_s: float) -> None:
        """Returns if the request is allowed.

        Args:
            method: `GET` or `HEAD`.
            target: path and query, as they came.
            host: the `Host` header, with its port if it has one; empty without.
            now_s: seconds since 1970.

        Raises:
            RedirectRefusedError: it is not.
        """
        ...


class OpenToAll:
    """For networks that decide by themselves who may read."""

    def check(self, method: str, target: str, host: str, now_s: float) -> None:
        """See `RedirectCheck.check`; allows everything."""


class ClosedToAll:
    """For gateways that have been given nothing to check."""

    def check(self, method: str, target: str, host: str, now_s: float) -> None:  # noqa: ARG002
        """See `RedirectCheck.check`; allows nothing."""
        raise RedirectRefusedError("not signed, and gateway.closed_network is false")


class BySignature:
    """Leaves it to the check that belongs to the signature which a redirect carries.

    Args:
        checks: by the name of the parameter that only their signatures have.
        unsigned: for redirects without any of these parameters.
    """

    def __init__(self, checks: Mapping[str, RedirectCheck], unsigned: RedirectCheck) -> None:
        self._checks = checks
        self._unsigned = unsigned

    def check(self, method: str, target: str, host: str, now_s: float) -> None:
        """See `RedirectCheck.check`."""
        query = target.partition("?")[2]
        names = {item.partition("=")[0] for item in query.split("&")}
        chosen = next((check for name, check in self._checks.items() if name in names), self._unsigned)
        chosen.check(method, target, host, now_s)
