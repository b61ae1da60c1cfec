"""What the gateway is told."""

from __future__ import annotations

from p2p_seed.store import S3Access
from registry_hook.gateway import GatewaySettings
from registry_hook.settings import Settings
from registry_hook.settings_sections import S3Settings, parse_address


def gateway_settings(settings: Settings) -> GatewaySettings:
    """What the gateway is told."""
    wanted = settings.gateway
    address = parse_address(wanted.listen)
    metrics = parse_address(wanted.metrics_listen) if wanted.metrics_listen else None
    return GatewaySettings(
        store=settings.store_location,
        host=address.host,
        port=address.port,
        store_s3=s3_access(settings.store.s3),
        registry_storage=wanted.origin,
        registry_s3=s3_access(wanted.origin_s3),
        closed_network=wanted.closed_network,
        metrics_host=metrics.host if metrics else "127.0.0.1",
        metrics_port=metrics.port if metrics else None,
        drain_timeout_s=settings.jobs.drain_s,
        access_log=wanted.access_log,
    )


def s3_access(settings: S3Settings) -> S3Access:
    """How to reach an S3 server."""
    return S3Access(
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        access_key=settings.access_key,
        secret_key=settings.secret(),
        ca_bundle=settings.ca_bundle,
        path_style=settings.path_style,
    )
