"""Dragonfly v2: the peers on nodes, the seed peers, and the scheduler of a set without a manager.

Formats: `src/dfdaemon.rs` of dragonfly-client-config 1.5.10; `scheduler/config/config.go` of Dragonfly 2.5.1.
Ports that the settings do not name are Dragonfly's defaults.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from registry_hook.node_config.addresses import NodeConfigError, RegistryAddress, host_and_port, is_ip
from registry_hook.node_config.files import ConfigFile, NodeConfig, quoted
from registry_hook.settings_seeding import (
    ClusterSettings,
    DragonflyCluster,
    DragonflyManagerCluster,
    RangeCluster,
    SeedPeerSettings,
)

_DIRECTORY: Final = PurePosixPath("/etc/dragonfly")
_MANAGER_PORT: Final = 65003
_PROXY_PORT: Final = 4001
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - gateways are other machines
PEER_HEALTH_URL: Final = "http://127.0.0.1:4003/healthy"
# Whole names only: the gateway's own URLs (`…/blobs/sha256/ab/…`) have no digest that the peers understand,
# and would make a task of their own.
_BLOBS: Final = "/blobs/sha256:[0-9a-f]{64}$"


def peer_config(
    cluster: RangeCluster, registry: RegistryAddress, peer_url: str, address: str | None = None
) -> NodeConfig:
    """The peer of an ordinary node.

    Args:
        cluster: which it joins.
        registry: what it is a mirror of.
        peer_url: where clients on the node find its proxy.
        address: IP address under which other peers reach the node; the daemon looks for one without it.
    """
    proxy = urlsplit(peer_url)
    if not is_ip(proxy.hostname or ""):
        raise NodeConfigError(f"gateway.peer_url: {peer_url} has a name, and a peer listens on an IP address")
    about = (
        "For an ordinary node. Then start: dfdaemon (it reads this file by itself).",
        "Other peers need ports 4000 and 4005 (TCP) of the node. Its proxy gives blobs that it has to "
        "whoever asks, without credentials: leave it on the loopback address.",
    )
    text = _host(address) + _daemon(cluster, registry, proxy.hostname or "", proxy.port or 80)
    return NodeConfig((ConfigFile(_DIRECTORY / "dfdaemon.yaml", text, about), *_dynconfig(cluster)))


def seed_config(
    cluster: RangeCluster, registry: RegistryAddress, seed: SeedPeerSettings, address: str | None = None
) -> NodeConfig:
    """A seed peer.

    Args:
        cluster: which it belongs to.
        registry: as for ordinary peers, which ask it for what they lack.
        seed: which of the cluster's seed peers.
        address: as for ordinary peers; by default that of the settings, if it is an IP address.
    """
    host, port = host_and_port(seed.grpc)
    proxy_port = urlsplit(seed.proxy).port or _PROXY_PORT
    about = (
        f"For the seed peer {seed.grpc}. Then start: dfdaemon (it reads this file by itself).",
        f"The service needs port {port}, gateways {proxy_port}, other peers {port} and 4005 "
        "(TCP). Let nobody else reach them: they ask for no credentials.",
    )
    text = (
        _host(address or (host if is_ip(host) else None))
        + f"""\
seedPeer:
  enable: true
  type: super
upload:
  server:
    port: {port}
"""
        + _daemon(cluster, registry, _EVERYWHERE, proxy_port)
    )
    return NodeConfig((ConfigFile(_DIRECTORY / "dfdaemon.yaml", text, about), *_dynconfig(cluster)))


def scheduler_config(cluster: ClusterSettings, address: str | None = None) -> NodeConfig:
    """The scheduler of a set without a manager.

    Args:
        cluster: whose scheduler.
        address: its IP address, where the settings have a name.

    Raises:
        NodeConfigError: the cluster has another engine, or no address is known.
    """
    if not isinstance(cluster, DragonflyCluster):
        raise NodeConfigError(
            f"the cluster {cluster.name!r} is {cluster.engine}: settings describe only the scheduler of the "
            "engine dragonfly, which needs neither manager nor database"
        )
    host, port = host_and_port(cluster.scheduler)
    advertised = address or (host if is_ip(host) else None)
    if advertised is None:
        raise NodeConfigError(
            f"the scheduler of {cluster.name!r} is {cluster.scheduler}, and it must know its own IP address: "
            "say --address IP"
        )
    dynconfig = _DIRECTORY / "scheduler-dynconfig.yaml"
    return NodeConfig(
        (
            ConfigFile(
                _DIRECTORY / "scheduler.yaml",
                f"""\
server:
  listenIP: "0.0.0.0"
  advertiseIP: {quoted(advertised)}
  port: {port}
  # Not the same as `port` by default.
  advertisePort: {port}
# No jobs: without Redis a single preheat request would end the scheduler.
job:
  enable: false
""",
                (
                    "Then start (it makes the second file itself; dynconfig.yaml, its default, belongs to a "
                    "peer on the same machine):",
                    f"  scheduler --config {_DIRECTORY}/scheduler.yaml --dynconfig {dynconfig}",
                    f"Peers and the service need its port {port}. Let nobody else reach it: it asks for no "
                    "credentials. It keeps everything in memory; the service seeds again after a restart.",
                ),
            ),
        )
    )


def _host(address: str | None) -> str:
    return "" if address is None else f"host:\n  ip: {quoted(address)}\n"


def _daemon(cluster: RangeCluster, registry: RegistryAddress, proxy_ip: str, proxy_port: int) -> str:
    certificate = f"\n    cert: {quoted(str(registry.ca_file))}" if registry.ca_file is not None else ""
    # Clients have to name tasks as they are seeded, or the seed fetches a second copy for them.
    by_digest = not isinstance(cluster, DragonflyManagerCluster)
    reason = (
        "One task for a blob, whatever URL or signature it is asked for with."
        if by_digest
        else "A manager's jobs name tasks by the origin's URLs, so this does, too."
    )
    return f"""\
{_manager(cluster)}storage:
  keep: true
backend:
  # Redirects to the gateway may be signed, so they are not kept for the 10 minutes that are usual.
  cacheTemporaryRedirectTTL: 60s
proxy:
  server:
    ip: {quoted(proxy_ip)}
    port: {proxy_port}
  rules:
    - regex: {quoted(_BLOBS)}
      # Otherwise small blobs and ranges, so most lazy reads, are fetched from the origin.
      schedulingPolicy: always
  registryMirror:
    addr: {quoted(registry.url)}
    # {reason}
    enableTaskIDBasedBlobDigest: {str(by_digest).lower()}{certificate}
# Asked by programs of this machine only.
health:
  server:
    ip: "127.0.0.1"
stats:
  server:
    ip: "127.0.0.1"
"""


def _manager(cluster: RangeCluster) -> str:
    if not isinstance(cluster, DragonflyManagerCluster):
        return ""
    host = urlsplit(cluster.manager).hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"""\
manager:
  # The manager's gRPC port, {_MANAGER_PORT} unless it was set up otherwise.
  addr: {quoted(f"http://{host}:{_MANAGER_PORT}")}
"""


def _dynconfig(cluster: RangeCluster) -> tuple[ConfigFile, ...]:
    if isinstance(cluster, DragonflyManagerCluster):
        return ()
    content = f"scheduler:\n  addrs: [{quoted(cluster.scheduler)}]\n"
    about = ("Tells dfdaemon its scheduler; read again while it runs.",)
    return (ConfigFile(_DIRECTORY / "dynconfig.yaml", content, about),)
