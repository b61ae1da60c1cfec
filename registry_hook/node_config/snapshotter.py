"""nydus-snapshotter: its settings, its template for nydusd, and the plug-in's entry in containerd's.

Formats: nydus-snapshotter 0.16.1, `config/config.go` and `config/daemonconfig/`; nydusd's configuration of
version 1, which is the one that it fills in.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final

from registry_hook.node_config.addresses import RegistryAddress
from registry_hook.node_config.dragonfly import PEER_HEALTH_URL
from registry_hook.node_config.files import ConfigFile, NodeConfig, pretty_json, quoted
from registry_hook.node_config.nydusd import (
    CONNECT_TIMEOUT_S,
    RETRY_LIMIT,
    TIMEOUT_S,
    check_reachable,
)

_MAIN: Final = PurePosixPath("/etc/nydus/config.toml")
_TEMPLATE: Final = PurePosixPath("/etc/nydus/nydusd-config.fusedev.json")
_CONTAINERD: Final = PurePosixPath("/etc/containerd/config.toml")
_ROOT: Final = "/var/lib/containerd/io.containerd.snapshotter.v1.nydus"
_SOCKET: Final = "/run/containerd-nydus/containerd-nydus-grpc.sock"


def snapshotter_config(registry: RegistryAddress, peer_url: str | None = None) -> NodeConfig:
    """What nydus-snapshotter and containerd need to mount images of the registry lazily.

    Args:
        registry: the registry.
        peer_url: the node's own Dragonfly peer, to read through it; None leaves it out.

    Raises:
        NodeConfigError: nydusd cannot reach this registry.
    """
    check_reachable(registry)
    return NodeConfig((_main(), _template(registry, peer_url), _containerd()))


def _main() -> ConfigFile:
    return ConfigFile(
        _MAIN,
        f"""\
version = 1
root = {quoted(_ROOT)}
address = {quoted(_SOCKET)}
daemon_mode = "dedicated"

[daemon]
nydusd_config = {quoted(str(_TEMPLATE))}
fs_driver = "fusedev"
recover_policy = "restart"
threads_number = 4

[log]
log_to_stdout = true
level = "info"
""",
        (
            "nydusd has to be in the snapshotter's $PATH. Then start, before containerd:",
            f"  containerd-nydus-grpc --config {_MAIN}",
        ),
    )


def _template(registry: RegistryAddress, peer_url: str | None) -> ConfigFile:
    backend: dict[str, Any] = {
        "scheme": registry.scheme,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "timeout": TIMEOUT_S,
        "retry_limit": RETRY_LIMIT,
    }
    if peer_url is not None:
        backend["proxy"] = {
            "url": peer_url,
            "ping_url": PEER_HEALTH_URL,
            "check_interval": 5,
            "fallback": True,
        }
    template = {
        "device": {
            "backend": {"type": "registry", "config": backend},
            "cache": {"type": "blobcache"},
        },
        "mode": "direct",
        "digest_validate": False,
        "enable_xattr": True,
        "fs_prefetch": {"enable": True, "threads_count": 4},
    }
    return ConfigFile(
        _TEMPLATE,
        pretty_json(template),
        (
            "The snapshotter fills in host, repository, credentials and cache of each image. For "
            f"registries that speak {registry.scheme}.",
        ),
    )


def _containerd() -> ConfigFile:
    return ConfigFile(
        _CONTAINERD,
        f"""\
[proxy_plugins.nydus]
  type = "snapshot"
  address = {quoted(_SOCKET)}

# containerd 1.6 and 1.7:
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "nydus"
  disable_snapshot_annotations = false

# containerd 2 (remove the lines above there):
# [plugins."io.containerd.cri.v1.images"]
#   snapshotter = "nydus"
#   disable_snapshot_annotations = false
""",
        (
            "Then: systemctl restart containerd. Pods that use IMAGE:TAG-nydus start before their data are "
            "there; ordinary images are unpacked as ever.",
        ),
        part=True,
    )
