"""Where a registry is, and how far it is trusted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from registry_hook.registry.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """The configured address of a registry.

    Args:
        url: `https://host[:port]`, with a path if the registry lives below one. `http://` is the operator's
            word that this registry is to be spoken to in the clear; nothing else ever leads to plain HTTP.
        ca_file: PEM file with authorities to trust beside the system's.
        plain_http_redirects: whether blobs of an HTTPS registry may be fetched from a plain HTTP host that it
            redirects to (a gateway in a closed network). Their digests are checked either way.
        connect_timeout_s: seconds to wait for a connection.
        read_timeout_s: seconds to wait for the next bytes.

    Raises:
        ConfigurationError: `url` is not such a URL.
    """

    url: str
    ca_file: Path | None = None
    plain_http_redirects: bool = False
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"registry URL {self.url!r}: {error}") from error
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise ConfigurationError(
                f"registry URL {self.url!r} is not of the form https://host[:port][/path]"
            )

    @property
    def host(self) -> str:
        """Host and port as in an image reference: the port is absent if the URL has none."""
        return httpx.URL(self.url).netloc.decode("ascii")

    @property
    def secure(self) -> bool:
        """Whether the registry is spoken to over TLS."""
        return httpx.URL(self.url).scheme == "https"

    def tls_context(self) -> ssl.SSLContext:
        """The trust in servers: the system's authorities, and those of `ca_file`.

        Raises:
            ConfigurationError: `ca_file` cannot be read or holds no certificate.
        """
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(cafile=self.ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigurationError(f"CA file {self.ca_file}: {error}") from error
        return context
