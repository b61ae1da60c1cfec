"""nydusd: how it reads the blobs of one repository.

Format: nydusd's configuration of version 2, in TOML, which 2.2 and later read like JSON.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from registry_hook.node_config.addresses import NodeConfigError, RegistryAddress
from registry_hook.node_config.dragonfly import PEER_HEALTH_URL
from registry_hook.node_config.files import ConfigFile, NodeConfig, quoted

_DIRECTORY: Final = PurePosixPath("/etc/nydus")
_CACHE: Final = PurePosixPath("/var/cache/nydus")
CONNECT_TIMEOUT_S: Final = 5
# Longer than the gateway looks for a source that works, and short enough for a program that waits for a read.
TIMEOUT_S: Final = 20
RETRY_LIMIT: Final = 2


def nydusd_config(
    registry: RegistryAddress, repository: str, peer_url: str | None = None, *, validate: bool = False
) -> NodeConfig:
    """What nydusd needs to mount images of one repository.

    Args:
        registry: the registry.
        repository: whose images.
        peer_url: the node's own Dragonfly peer, to read through it; None leaves it out.
        validate: let nydusd check every chunk, which fails with a registry that redirects HEAD.

    Raises:
        NodeConfigError: nydusd cannot reach this registry.
    """
    name = repository.replace("/", "-")
    path = _DIRECTORY / f"{name}.toml"
    cache = _CACHE / name
    plainly = "--plain-http " if registry.scheme == "http" else ""
    image = f"{plainly}docker://{registry.name}/{repository}:TAG-nydus"
    return NodeConfig(
        (
            ConfigFile(
                path,
                _backend(registry, repository, peer_url) + _cache(cache, validate),
                (
                    "It fits every image of the repository. The bootstrap of one image comes with",
                    f"  dragonhook mount {image} DIR",
                    "which writes it to DIR.nydusd/image.boot. Then:",
                    f"  mkdir -p {cache} DIR",
                    f"  nydusd fuse --config {path} --bootstrap DIR.nydusd/image.boot --mountpoint DIR "
                    "--rlimit-nofile 0",
                    'A private registry needs auth = "BASE64 OF USER:PASSWORD" in [backend.registry]: use an '
                    "account that can only pull.",
                ),
            ),
        )
    )


def check_reachable(registry: RegistryAddress) -> None:
    """Refuses what nydusd has no way to say.

    Raises:
        NodeConfigError: the registry lives below a path.
    """
    if registry.has_path:
        raise NodeConfigError(
            f"nydusd asks for /v2/… only, so it cannot reach a registry below a path ({registry.url}); "
            "give it another address with --registry"
        )


def _backend(registry: RegistryAddress, repository: str, peer_url: str | None) -> str:
    check_reachable(registry)
    text = f"""\
version = 2

[backend]
type = "registry"

[backend.registry]
scheme = {quoted(registry.scheme)}
host = {quoted(registry.host)}
repo = {quoted(repository)}
connect_timeout = {CONNECT_TIMEOUT_S}
timeout = {TIMEOUT_S}
retry_limit = {RETRY_LIMIT}
"""
    if peer_url is None:
        return text
    return (
        text
        + f"""
# The node's own Dragonfly peer. While it does not answer, nydusd reads from the registry.
[backend.registry.proxy]
url = {quoted(peer_url)}
ping_url = {quoted(PEER_HEALTH_URL)}
check_interval = 5
fallback = true
"""
    )


def _cache(directory: PurePosixPath, validate: bool) -> str:
    reason = (
        "Every chunk is checked, also when it is read from the cache again."
        if validate
        else "Checking needs the lengths of blobs. A registry that redirects tells none: every read fails."
    )
    return f"""
[cache]
type = "blobcache"
# {reason}
validate = {str(validate).lower()}

[cache.filecache]
work_dir = {quoted(str(directory))}

[cache.prefetch]
enable = true
threads = 4

[rafs]
mode = "direct"
enable_xattr = true
# Version 6 of the format knows no such check, and does not mount with it.
validate = false

[rafs.prefetch]
enable = true
threads = 4
"""
