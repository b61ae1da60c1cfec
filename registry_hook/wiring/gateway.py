"""What the gateway is told."""

from __future__ import annotations

from registry_hook.gateway import GatewaySettings
from registry_hook.settings import Settings
from registry_hook.settings_sections import parse_address
from registry_hook.wiring.blob_store import s3_access


def gateway_settings(settings: Settings) -> GatewaySettings:
    """What the gateway is told."""
    wanted = settings.gateway
    address = parse_address(wanted.listen)
    metrics = parse_address(wanted.metrics_listen) if wanted.metrics_listen else None
    return GatewaySettings(
        store=settings.store_location,
        host=address.host,
        port=address.port,
        store_s3=s3_access("store.s3", settings.store.s3),
        registry_storage=wanted.origin,
        registry_s3=s3_access("gateway.origin_s3", wanted.origin_s3),
        closed_network=wanted.closed_network,
        metrics_host=metrics.host if metrics else "127.0.0.1",
        metrics_port=metrics.port if metrics else None,
        drain_timeout_s=settings.jobs.drain_s,
        access_log=wanted.access_log,
    )
