"""How to reach an S3 server: plain values, apart from boto3, which takes a while to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach an S3 server.

    Args:
        endpoint_url: `http://` or `https://`, host and port; None is AWS itself.
        region: what requests are signed for.
        access_key: with `secret_key`; both None leaves it to boto3's own search (instance role, profile).
        secret_key: never shown.
        ca_bundle: PEM file of the authorities to trust instead of the system's.
        path_style: bucket in the path instead of the host name, as most servers other than AWS want it.
        connect_timeout_s: for one attempt.
        read_timeout_s: longest silence of the server.
        attempts: how often a request is tried in all, at least 1.
        connections: kept open for reuse; more than that many at once still work, but cost a handshake each.
    """

    endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None
    path_style: bool = True
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    attempts: int = 4
    connections: int = 32
