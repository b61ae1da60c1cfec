"""Under which addresses other machines reach the parts of a deployment.

The settings say where the service listens and how it reaches the registry. Others use the same, unless it is
no name at all (`0.0.0.0`) or the user says otherwise.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from registry_hook.errors import HookError
from registry_hook.settings_sections import Address, RegistrySettings, parse_address


class NodeConfigError(HookError):
    """A configuration cannot be made of these settings and options; the message says what to change."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """The registry, as nodes see it.

    Args:
        url: how to reach it.
        name: host and port, as users write them in references.
        ca_file: PEM file with the authority of its certificate, on the node.
    """

    url: str
    name: str
    ca_file: Path | None

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """Host and port of the URL."""
        return urlsplit(self.url).netloc

    @property
    def has_path(self) -> bool:
        """Whether it lives below a path."""
        return bool(urlsplit(self.url).path)

    @property
    def is_loopback(self) -> bool:
        """Whether only its own machine reaches it."""
        return _is_loopback(urlsplit(self.url).hostname or "")


def registry_address(settings: RegistrySettings, url: str | None = None) -> RegistryAddress:
    """The registry, as nodes see it.

    Args:
        settings: how the service reaches it.
        url: how nodes reach it, if that is another way.
    """
    address = (url or settings.url).rstrip("/")
    return RegistryAddress(address, settings.name or urlsplit(settings.url).netloc, settings.ca_file)


def reachable_url(setting: str, listen: str, option: str) -> str:
    """The plain HTTP URL of a listener of ours.

    Args:
        setting: that says where it listens, for the message.
        listen: its value.
        option: by which the user can say another URL, for the message.

    Raises:
        NodeConfigError: it listens on every address, which is no name that others could use.
    """
    address = parse_address(listen)
    if _is_any(address):
        raise NodeConfigError(
            f"{setting} is {listen}, which does not tell under which name others reach it: "
            f"say {option} http://HOST:{address.port}"
        )
    return f"http://{address}"


def host_and_port(text: str) -> tuple[str, int]:
    """The parts of `host:port`, without the brackets of an IPv6 address."""
    address = parse_address(text)
    return address.host, address.port


def is_ip(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_any(address: Address) -> bool:
    return is_ip(address.host) and ipaddress.ip_address(address.host).is_unspecified


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)
