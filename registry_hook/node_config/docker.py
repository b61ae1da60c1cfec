"""Docker: the daemon's `daemon.json`, and its proxy where it pulls through the node's Dragonfly peer.

Formats: dockerd(8) and docs.docker.com, "Daemon proxy configuration"; the same from 20.10 on.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from registry_hook.node_config.addresses import NodeConfigError, RegistryAddress
from registry_hook.node_config.files import ConfigFile, NodeConfig, pretty_json, quoted

_DAEMON: Final = PurePosixPath("/etc/docker/daemon.json")
_DROP_IN: Final = PurePosixPath("/etc/systemd/system/docker.service.d/dragonhook.conf")


def docker_config(
    registry: RegistryAddress, peer_url: str | None = None, *, hub_mirror: bool = False
) -> NodeConfig:
    """What dockerd needs to pull from the registry.

    Args:
        registry: the registry.
        peer_url: the node's own Dragonfly peer, to pull through it; None leaves it out.
        hub_mirror: also ask the registry first for images whose names have no registry (`--registry-mirror`).

    Raises:
        NodeConfigError: dockerd has no way to do that.
    """
    if registry.has_path:
        raise NodeConfigError(
            f"dockerd asks for /v2/… only, so it cannot reach a registry below a path ({registry.url}); "
            "give it another address with --registry"
        )
    settings: dict[str, object] = {}
    if registry.scheme == "http" and not registry.is_loopback:
        settings["insecure-registries"] = [registry.name]
    if hub_mirror:
        settings["registry-mirrors"] = [registry.url]
    files = [ConfigFile(_DAEMON, pretty_json(settings), _about(registry, settings), part=True)]
    if peer_url is not None:
        files.append(_drop_in(registry, peer_url))
    return NodeConfig(tuple(files))


def _about(registry: RegistryAddress, settings: dict[str, object]) -> tuple[str, ...]:
    about = [
        "Then: systemctl restart docker (or, without live-restore, when no container runs)."
        if settings
        else "Nothing has to be set: dockerd pulls from this registry as it is."
    ]
    if registry.ca_file is not None:
        about += [
            "The authority of the registry's certificate belongs where dockerd looks for it:",
            f"  install -D {registry.ca_file} /etc/docker/certs.d/{registry.name}/ca.crt",
        ]
    if settings.get("registry-mirrors"):
        about.append("Images that the registry does not have still come from Docker Hub.")
    about.append("Credentials are the users': docker login.")
    return tuple(about)


def _drop_in(registry: RegistryAddress, peer_url: str) -> ConfigFile:
    if registry.scheme != "http" or registry.is_loopback:
        reason = (
            "TLS hides from the peer what is asked for"
            if registry.scheme == "https"
            else "it is this machine"
        )
        raise NodeConfigError(
            f"dockerd does not pull from {registry.url} through a peer as its proxy: {reason}. Set "
            'gateway.answer = "peer-redirect" instead, and leave --peer out'
        )
    return ConfigFile(
        _DROP_IN,
        f"[Service]\nEnvironment={quoted('HTTP_PROXY=' + peer_url)}\n",
        (
            "dockerd asks the node's own Dragonfly peer for everything in plain HTTP. Then:",
            "  systemctl daemon-reload && systemctl restart docker",
            "While the peer does not run, pulls from the registry fail.",
        ),
    )
