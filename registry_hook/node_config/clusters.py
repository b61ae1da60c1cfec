"""Which cluster of the settings a node joins."""

from __future__ import annotations

from registry_hook.node_config.addresses import NodeConfigError
from registry_hook.settings import Settings
from registry_hook.settings_seeding import RangeCluster, SeedPeerSettings


def range_cluster(settings: Settings, name: str | None) -> RangeCluster:
    """The cluster of a name, else the one that the gateway reads from.

    Raises:
        NodeConfigError: there is none of that name, or none at all, or its engine is not Dragonfly v2.
    """
    try:
        cluster = settings.seeding.gateway_cluster(name or settings.gateway.cluster)
    except ValueError as error:
        raise NodeConfigError(str(error)) from error
    if cluster is None:
        raise NodeConfigError("seeding.clusters has no cluster of Dragonfly v2: add one to the settings")
    return cluster


def seed_peer_of(cluster: RangeCluster, grpc: str) -> SeedPeerSettings:
    """The seed peer of an address.

    Raises:
        NodeConfigError: the cluster has none there.
    """
    for seed in cluster.seed_peers:
        if seed.grpc == grpc:
            return seed
    known = ", ".join(seed.grpc for seed in cluster.seed_peers)
    raise NodeConfigError(f"{cluster.name} has no seed peer {grpc}; its seed peers are {known}")
