"""The table `[seeding]`: which P2P clusters get the blobs, and how.

Each cluster names its engine, and an engine takes only what it knows: a name of another engine is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, SecretStr, field_validator, model_validator

from registry_hook.settings_sections import (
    HttpUrl,
    ListenAddress,
    Secret,
    Section,
    only_one,
    secret_value,
)

_SHORTEST_SECRET: Final = 16
ClusterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
HostAndPort = ListenAddress


class SeedPeerSettings(Section):
    """A seed peer of Dragonfly v2: where it takes orders, and where it gives blobs."""

    grpc: HostAndPort
    proxy: HttpUrl


SeedPeers = Annotated[tuple[SeedPeerSettings, ...], Field(min_length=1)]


class DragonflyCluster(Section):
    """Dragonfly v2 without a manager: the seed peers are told what to fetch."""

    name: ClusterName
    engine: Literal["dragonfly"]
    scheduler: HostAndPort
    seed_peers: SeedPeers


class DragonflyManagerCluster(Section):
    """Dragonfly v2 by the jobs of its manager; what they did is proven at the seed peers."""

    name: ClusterName
    engine: Literal["dragonfly-manager"]
    manager: HttpUrl
    token: Secret | None = None
    token_file: Path | None = None
    scheduler_cluster_ids: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1,)
    scheduler: HostAndPort | None = None
    seed_peers: SeedPeers

    @model_validator(mode="after")
    def _one_token(self) -> DragonflyManagerCluster:
        if self.token is None and self.token_file is None:
            raise ValueError("token or token_file is required: a personal access token with the scope job")
        return only_one(self, "token")

    def secret(self) -> str:
        """The personal access token, from wherever it was given."""
        return secret_value(f"seeding.clusters ({self.name}).token", self.token, self.token_file) or ""


class DragonflyV1Cluster(Section):
    """The SuperNode of Dragonfly 1; what it did is proven through the proxy of one of its peers."""

    name: ClusterName
    engine: Literal["dragonfly-v1"]
    supernode: HttpUrl
    proxy: HttpUrl


class KrakenCluster(Section):
    """Kraken: an origin is told what to fetch, and what it did is proven through an agent."""

    name: ClusterName
    engine: Literal["kraken"]
    origin: HttpUrl
    agent: HttpUrl
    namespace: str = "dragonhook"


ClusterSettings: TypeAlias = Annotated[
    DragonflyCluster | DragonflyManagerCluster | DragonflyV1Cluster | KrakenCluster,
    Field(discriminator="engine"),
]
ENGINES: Final = ("dragonfly", "dragonfly-manager", "dragonfly-v1", "kraken")
# Engines whose peers serve ranges of a blob that they have whole, which lazy pulls consist of.
RangeCluster: TypeAlias = DragonflyCluster | DragonflyManagerCluster


class SeedingSettings(Section):
    """Which clusters are seeded. Without any, blobs are served from the store and P2P is off."""

    origin_url: HttpUrl | None = None
    origin_secret: Secret | None = None
    origin_secret_file: Path | None = None
    origin_url_lifetime_s: Annotated[float, Field(ge=60, le=7 * 86400)] = 3600.0
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    source_images: bool = False
    check_interval_s: Annotated[float, Field(ge=1)] = 60.0
    timeout_s: Annotated[float, Field(ge=1)] = 1800.0
    clusters: tuple[ClusterSettings, ...] = ()

    @field_validator("origin_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"is too short to sign with: {_SHORTEST_SECRET} characters at least")
        return secret

    @model_validator(mode="after")
    def _complete(self) -> SeedingSettings:
        if self.clusters and self.origin_url is None:
            raise ValueError("origin_url is required where there are clusters: peers fetch blobs from there")
        names = [cluster.name for cluster in self.clusters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two clusters are called {name!r}")
        return only_one(self, "origin_secret")

    def secret(self) -> bytes | None:
        """What the origin's URLs are signed with, from wherever it was given; None leaves them unsigned."""
        text = secret_value("seeding.origin_secret", self.origin_secret, self.origin_secret_file)
        return None if text is None else text.encode()

    def gateway_cluster(self, name: str | None) -> RangeCluster | None:
        """The cluster that the gateway reads from: that of a name, else the first that serves ranges.

        Raises:
            ValueError: there is none of the name, or its engine serves no ranges.
        """
        if name is None:
            return next((cluster for cluster in self.clusters if isinstance(cluster, RangeCluster)), None)
        named = next((cluster for cluster in self.clusters if cluster.name == name), None)
        if named is None:
            raise ValueError(f"gateway.cluster: no cluster of seeding.clusters is called {name!r}")
        if not isinstance(named, RangeCluster):
            raise ValueError(f"gateway.cluster: {name!r} is {named.engine}, whose peers serve no ranges")
        return named
