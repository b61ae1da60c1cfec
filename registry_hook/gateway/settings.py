"""What the gateway is told; `registry_hook.settings` fills it from the settings file.

It speaks plain HTTP. A site that wants TLS puts a proxy before it, as before the registry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2p_seed.store import S3Access
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.gateway.p2p.settings import PeerSettings
from registry_hook.gateway.sigv4 import SigV4Key


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of one gateway process.

    Args:
        host: address to listen on.
        port: TCP port; 0 takes a free one, which the log names.
        store: our own blobs, `filesystem:PATH` or `s3://BUCKET/PREFIX`.
        store_s3: how to reach S3 for `store`.
        registry_storage: the registry's storage, spelled as `store`; None serves our own blobs only, and
            breaks ordinary pulls and pushes of a registry that redirects everything.
        registry_s3: how to reach S3 for `registry_storage`; read access is enough.
        closed_network: whether the network alone decides who may read. A redirect that is not signed tells
            nothing about the client, so without this it is refused with 403.
        sigv4: checks redirects that the registry's S3 driver signs (`redirectendpoint`).
        cloudfront: checks redirects that the registry's `cloudfront` middleware signs. A redirect with a
            signature that can be checked and is wrong is refused in a closed network, too.
        origin_host: address of the private origin, which peers fetch blobs from.
        origin_port: its port; None does without an origin.
        origin_secret: what the URLs that peers fetch from are signed with; None serves whoever asks, and
            needs `closed_network`.
        metrics_host: address of the listener for `/metrics`.
        metrics_port: its port; None does without metrics.
        max_responses: answers under way at once; further requests wait. From S3, each holds up to 2 MiB of
            memory while its client is slow: one piece being sent, one read ahead.
        stream_threads: reads from one S3 store at once; further ones wait.
        drain_timeout_s: how long running answers may take after SIGTERM.
        stall_timeout_s: a client that takes no data for this long is cut off.
        access_log: one line for each request.
        reuse_port: let several gateways listen on the same port.
        peers: the P2P cluster that is asked first; None serves from the stores alone.
    """

    store: str
    host: str = "127.0.0.1"
    port: int = 8089
    store_s3: S3Access | None = None
    registry_storage: str | None = None
    registry_s3: S3Access | None = None
    closed_network: bool = False
    sigv4: SigV4Key | None = None
    cloudfront: CloudFrontKey | None = None
    origin_host: str = "127.0.0.1"
    origin_port: int | None = None
    origin_secret: bytes | None = field(default=None, repr=False)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    max_responses: int = 1024
    stream_threads: int = 32
    drain_timeout_s: float = 30.0
    stall_timeout_s: float = 300.0
    access_log: bool = True
    reuse_port: bool = False
    peers: PeerSettings | None = None

    @property
    def refuses_everything(self) -> bool:
        """Whether no redirect can be valid."""
        return not self.closed_network and self.sigv4 is None and self.cloudfront is None
