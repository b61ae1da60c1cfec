"""containerd: the `hosts.toml` of the registry.

Format: containerd's `docs/hosts.md`, the same in 1.6 to 2.x.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from registry_hook.node_config.addresses import RegistryAddress
from registry_hook.node_config.files import ConfigFile, NodeConfig, quoted

_DIRECTORY: Final = PurePosixPath("/etc/containerd/certs.d")
_MAIN: Final = PurePosixPath("/etc/containerd/config.toml")


def containerd_config(registry: RegistryAddress, peer_url: str | None = None) -> NodeConfig:
    """What containerd needs to pull from the registry.

    Args:
        registry: the registry.
        peer_url: the node's own Dragonfly peer, to pull layers through it first; None leaves it out.
    """
    hosts = ConfigFile(
        _DIRECTORY / registry.name / "hosts.toml",
        _hosts(registry, peer_url),
        (
            "containerd reads it for every pull, so nothing is restarted. It looks there only if the "
            f"directory is named in {_MAIN}, and ctr only where it is told:",
            f"  ctr images pull --hosts-dir {_DIRECTORY} {registry.name}/REPOSITORY:TAG",
            "Credentials of a private registry do not belong here (but imagePullSecrets, ctr --user).",
        ),
    )
    main = ConfigFile(
        _MAIN,
        f"""\
# containerd 1.6 and 1.7:
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = {quoted(str(_DIRECTORY))}

# containerd 2 (remove the lines above there):
# [plugins."io.containerd.cri.v1.images".registry]
#   config_path = {quoted(str(_DIRECTORY))}
""",
        (
            "Says where to look for hosts.toml. Then: systemctl restart containerd. Tables like "
            "registry.mirrors and registry.configs exclude config_path: remove them.",
        ),
        part=True,
    )
    return NodeConfig((hosts, main))


def _hosts(registry: RegistryAddress, peer_url: str | None) -> str:
    text = f"server = {quoted(registry.url)}\n"
    if peer_url is not None:
        # Tags are asked of the registry itself, so that a peer, which checks nothing, never says what a tag
        # means; containerd checks the digests of what the peer gives.
        text += f"""
# The node's own Dragonfly peer. Without it, or if it fails, blobs come from the registry.
[host.{quoted(peer_url)}]
  capabilities = ["pull"]
  [host.{quoted(peer_url)}.header]
    X-Dragonfly-Registry = [{quoted(registry.url)}]
"""
    text += f"""
[host.{quoted(registry.url)}]
  capabilities = ["pull", "resolve"]
"""
    if registry.ca_file is not None:
        text += f"  ca = {quoted(str(registry.ca_file))}\n"
    return text
