"""Where the credentials of a registry come from: nowhere, the settings, or a docker config file.

Owns the `docker` package's auth code: inline `auths`, `credHelpers` and `credsStore`. The path of the config
is always explicit; the package's own search through the environment and the home directory is never used.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import docker.auth
import docker.errors

from registry_hook.registry.errors import CredentialsError

_MAX_CONFIG_BYTES: Final = 1024 * 1024
_SECTIONS: Final = ("auths", "credsStore", "credHelpers")


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name with a password, or an identity token.

    Args:
        username: empty for an identity token.
        secret: password, or the identity (OAuth2 refresh) token.
        is_identity_token: whether `secret` is an identity token, which only a token server understands.
    """

    username: str
    secret: str = field(repr=False)
    is_identity_token: bool = False


class CredentialSource(Protocol):
    """Gives the credential for a registry."""

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:
        """Looks a credential up.

        Args:
            host: registry host with its port, as in an image reference.
            fresh: ask the origin again, since the credential given before was refused.

        Returns:
            The credential; None means anonymous.

        Raises:
            CredentialsError: there may be one, but it cannot be read.
        """
        ...


class NoCredentials:
    """Always anonymous."""

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:  # noqa: ARG002
        """None."""
        return None


class FixedCredentials:
    """Credentials from the settings, by registry host."""

    def __init__(self, by_host: Mapping[str, Credential]) -> None:
        self._by_host = dict(by_host)

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:  # noqa: ARG002
        """The credential of `host`, if the settings have one."""
        return self._by_host.get(host)


class DockerConfigCredentials:
    """Credentials from a docker `config.json`, as `docker login` writes it.

    The file is read again when a lookup is older than `max_age_s`, so a rotated secret is picked up, while a
    credential helper (a program to start) does not run for every request.

    Args:
        path: the config file.
        max_age_s: seconds for which a looked-up credential is kept.
        clock: monotonic seconds.
    """

    def __init__(
        self, path: Path, max_age_s: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Credential | None]] = {}

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:
        """See CredentialSource."""
        with self._lock:
            known = self._known.get(host)
            if known is not None and not fresh and self._clock() - known[0] < self._max_age_s:
                return known[1]
            credential = self._look_up(host)
            self._known[host] = (self._clock(), credential)
            return credential

    def _look_up(self, host: str) -> Credential | None:
        sections = self._read()
        if not sections:
            # An empty dict would send the docker package looking for the user's own config.
            return None
        try:
            entry = docker.auth.load_config(config_dict=sections).resolve_authconfig(host)
        except (docker.errors.DockerException, ValueError, KeyError) as error:
            raise CredentialsError(f"docker config {self._path}, credential for {host}: {error}") from error
        return _credential(entry or {})

    def _read(self) -> dict[str, object]:
        try:
            with self._path.open("rb") as file:
                document = json.loads(file.read(_MAX_CONFIG_BYTES))
        except (OSError, ValueError) as error:
            raise CredentialsError(f"docker config {self._path} cannot be read: {error}") from error
        if not isinstance(document, dict):
            raise CredentialsError(f"docker config {self._path} is not a JSON object")
        return {name: document[name] for name in _SECTIONS if document.get(name)}


def _credential(entry: Mapping[str, str | None]) -> Credential | None:
    """Reads what the docker package found: lower-case keys from the file, capitalised ones from a helper."""
    if token := entry.get("IdentityToken"):
        return Credential("", token, is_identity_token=True)
    username = entry.get("username") or entry.get("Username")
    secret = entry.get("password") or entry.get("Password")
    return Credential(username, secret) if username and secret else None
