"""The table `[gateway]`: the target of the registry's redirects, and the private origin of the peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from registry_hook.settings_sections import (
    HttpUrl,
    ListenAddress,
    S3Settings,
    Secret,
    Section,
    only_one,
    secret_value,
)


class SigV4Settings(Section):
    """The key with which a registry on S3 signs its redirects (`redirectendpoint`)."""

    access_key: str | None = None
    secret_key: Secret | None = None
    secret_key_file: Path | None = None
    region: str = "us-east-1"

    @model_validator(mode="after")
    def _whole(self) -> SigV4Settings:
        given = self.secret_key is not None or self.secret_key_file is not None
        if given != (self.access_key is not None):
            raise ValueError("access_key and secret_key (or secret_key_file) belong together")
        return only_one(self, "secret_key")

    def secret(self) -> str | None:
        """The secret key, from wherever it was given."""
        return secret_value("gateway.sigv4.secret_key", self.secret_key, self.secret_key_file)


class CloudFrontSettings(Section):
    """The key with which a registry's `cloudfront` middleware signs its redirects."""

    key_pair_id: str | None = None
    public_key_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> CloudFrontSettings:
        if (self.key_pair_id is None) != (self.public_key_file is None):
            raise ValueError("key_pair_id and public_key_file belong together")
        return self


class GatewaySection(Section):
    """The target of the registry's `redirect` middleware.

    `origin` is the registry's own storage, spelled like `store.location`: its `rootdirectory`, or its bucket.
    """

    enabled: bool = True
    listen: ListenAddress = "127.0.0.1:8089"
    metrics_listen: ListenAddress | None = None
    origin_listen: ListenAddress | None = None
    origin: str | None = None
    origin_s3: S3Settings = S3Settings()
    closed_network: bool = False
    sigv4: SigV4Settings = SigV4Settings()
    cloudfront: CloudFrontSettings = CloudFrontSettings()
    cluster: str | None = None
    answer: Literal["bytes", "store-redirect", "peer-redirect"] = "bytes"
    peer_url: HttpUrl = "http://127.0.0.1:4001"
    redirect_clients: tuple[str, ...] = (
        "containerd/", "containers/", "docker/", "skopeo/", "Buildah/", "libpod/",
    )  # fmt: skip
    cache_dir: Path | None = None
    cache_bytes: Annotated[int, Field(ge=0)] = 4 << 30
    access_log: bool = False
