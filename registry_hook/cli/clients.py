"""Registry clients for one-shot commands, which work without a settings file."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from registry_hook.registry import (
    CredentialSource,
    DockerConfigCredentials,
    NoCredentials,
    NoTlsError,
    RefusedError,
    RegistryClient,
    RegistryEndpoint,
    UntrustedCertificateError,
)

_DOCKER_CONFIG = Path(".docker/config.json")


class Clients:
    """One client for each registry host that a command names.

    Args:
        tls: True or False as the user said; None means TLS except on this machine's own addresses, which is
            how the docker command decides.
        ca_file: authorities to trust beside the system's.
        docker_config: where credentials are; None takes the user's own file, if there is one.
    """

    def __init__(self, tls: bool | None, ca_file: Path | None, docker_config: Path | None) -> None:
        self._tls = tls
        self._ca_file = ca_file
        self._docker_config = docker_config
        self._clients: dict[str, RegistryClient] = {}
        self._speaks_plainly = False
        self._open = ExitStack()

    def __call__(self, host: str) -> RegistryClient:
        """The client for a host."""
        if host not in self._clients:
            tls = self.uses_tls(host)
            self._speaks_plainly |= not tls
            endpoint = RegistryEndpoint(f"{'https' if tls else 'http'}://{host}", ca_file=self._ca_file)
            client = RegistryClient(endpoint, self._credentials())
            self._clients[host] = self._open.enter_context(client)
        return self._clients[host]

    def uses_tls(self, host: str) -> bool:
        """Whether a host is spoken to by TLS."""
        return not is_loopback(host) if self._tls is None else self._tls

    def advice(self, error: Exception) -> str:
        """What to add to an error: the option that would help, if there is one."""
        if isinstance(error, NoTlsError):
            return "; if it is meant to be reached without, give --plain-http"
        if isinstance(error, UntrustedCertificateError):
            return "; the authority that signed it can be given with --ca-file"
        # What servers answer to plain HTTP where they want TLS, those written in Go and nginx among them.
        if isinstance(error, RefusedError) and error.status == 400 and self._speaks_plainly:
            return "; if the registry speaks TLS, give --tls"
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _credentials(self) -> CredentialSource:
        path = self._docker_config or Path.home() / _DOCKER_CONFIG
        if self._docker_config is None and not path.is_file():
            return NoCredentials()
        return DockerConfigCredentials(path)


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options about registries to a command, which gets `clients`."""

    @click.option("--tls/--plain-http", default=None, help="Default: TLS, except on 127.0.0.1 and localhost.")
    @click.option("--ca-file", type=click.Path(path_type=Path, exists=True), help="Authorities to trust too.")
    @click.option(
        "--docker-config", type=click.Path(path_type=Path, exists=True),
        help="File with credentials; default: ~/.docker/config.json.",
    )  # fmt: skip
    @wraps(command)
    def wrapper(
        *arguments: Any,
        tls: bool | None,
        ca_file: Path | None,
        docker_config: Path | None,
        **others: Any,
    ) -> Any:
        with Clients(tls, ca_file, docker_config) as clients:
            return command(*arguments, clients=clients, **others)

    return wrapper


def is_loopback(host: str) -> bool:
    """Whether a registry host (with or without port) is this machine by its name alone."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
