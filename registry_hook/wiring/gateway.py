"""What the gateway is told."""

from __future__ import annotations

from p2p_seed.locate import SeedPeer
from registry_hook.gateway import GatewaySettings
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.gateway.p2p.settings import PeerSettings
from registry_hook.gateway.sigv4 import SigV4Key
from registry_hook.settings import Settings
from registry_hook.settings_gateway import CloudFrontSettings, SigV4Settings
from registry_hook.settings_sections import parse_address
from registry_hook.settings_seeding import DragonflyManagerCluster
from registry_hook.wiring.blob_store import s3_access


def gateway_settings(settings: Settings) -> GatewaySettings:
    """What the gateway is told."""
    wanted = settings.gateway
    address = parse_address(wanted.listen)
    metrics = parse_address(wanted.metrics_listen) if wanted.metrics_listen else None
    origin = parse_address(wanted.origin_listen) if wanted.origin_listen else None
    return GatewaySettings(
        store=settings.store_location,
        host=address.host,
        port=address.port,
        store_s3=s3_access("store.s3", settings.store.s3),
        registry_storage=wanted.origin,
        registry_s3=s3_access("gateway.origin_s3", wanted.origin_s3),
        closed_network=wanted.closed_network,
        sigv4=_sigv4_key(wanted.sigv4),
        cloudfront=_cloudfront_key(wanted.cloudfront),
        origin_host=origin.host if origin else "127.0.0.1",
        origin_port=origin.port if origin else None,
        origin_secret=settings.seeding.secret(),
        metrics_host=metrics.host if metrics else "127.0.0.1",
        metrics_port=metrics.port if metrics else None,
        drain_timeout_s=settings.jobs.drain_s,
        access_log=wanted.access_log,
        peers=_peers(settings),
    )


def _peers(settings: Settings) -> PeerSettings | None:
    """The cluster to read from, if there is one."""
    cluster, seeding = settings.gateway_cluster, settings.seeding
    if cluster is None or seeding.origin_url is None:
        return None
    return PeerSettings(
        peers=tuple(SeedPeer(peer.grpc, peer.proxy) for peer in cluster.seed_peers),
        origin_url=seeding.origin_url,
        origin_secret=seeding.secret(),
        origin_url_lifetime_s=int(seeding.origin_url_lifetime_s),
        cache_dir=settings.gateway.cache_dir or settings.state_dir / "gateway-cache",
        cache_bytes=settings.gateway.cache_bytes,
        by_digest=not isinstance(cluster, DragonflyManagerCluster),
    )


def _sigv4_key(wanted: SigV4Settings) -> SigV4Key | None:
    secret_key = wanted.secret()
    if wanted.access_key is None or secret_key is None:
        return None
    return SigV4Key(wanted.access_key, secret_key, wanted.region)


def _cloudfront_key(wanted: CloudFrontSettings) -> CloudFrontKey | None:
    if wanted.key_pair_id is None or wanted.public_key_file is None:
        return None
    return CloudFrontKey(wanted.key_pair_id, wanted.public_key_file)
