"""Real registries: Debian's docker-registry 2.8 and Distribution 3.1.

Both read the same configuration. JSON is YAML, so it is written with `json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_port


class RegistryKind(StrEnum):
    """Which registry; the value is the name of its program."""

    V2 = "docker-registry"
    V3 = "registry"


@dataclass(frozen=True, slots=True)
class Notifications:
    """Where a registry posts its events, with what token, and how patient it is with the receiver."""

    url: str
    token: str
    timeout_s: float = 5.0
    backoff_s: float = 0.2


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """A token server in front of a registry.

    Args:
        realm: URL of the token server.
        certificate: PEM file with the certificate of the key that signs its tokens.
    """

    realm: str
    certificate: Path
    service: str = "registry.test"
    issuer: str = "issuer.test"


@dataclass(frozen=True, slots=True)
class S3Storage:
    """A bucket as a registry's storage.

    Blobs are redirected to presigned URLs, of `redirect_endpoint` where one is given (from Distribution 3.1.2
    on), else of the bucket.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    prefix: str = ""
    region: str = "us-east-1"
    redirect_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class CloudFront:
    """The middleware that redirects to URLs signed with RSA; over S3 only.

    Args:
        base_url: where to.
        private_key: PEM file, PKCS#1.
        key_pair_id: names the key.
        duration_s: how long a URL is good for.
    """

    base_url: str
    private_key: Path
    key_pair_id: str
    duration_s: int = 1200


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server's certificate and key."""

    certificate: Path
    key: Path


# The password of `BasicUser`, and its bcrypt hash: htpasswd files with anything else are ignored by
# Distribution.
_PASSWORD = "correct horse battery staple"
_BCRYPT = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"


@dataclass(frozen=True, slots=True)
class BasicUser:
    """The one user of a registry with an htpasswd file."""

    name: str = "pusher"
    password: str = field(default=_PASSWORD, init=False)


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """What differs from a bare registry on a directory.

    Args:
        notifications: post events there.
        redirect_url: answer GET and HEAD of blobs with a 307 to this base URL (2.8 drops its path).
        cloudfront: answer them with a 307 to a signed URL.
        basic_user: ask for a user and password.
        token_auth: ask for a token.
        tls: serve https.
        s3: keep the content in a bucket instead of a directory.
        deletion: allow DELETE.
    """

    notifications: Notifications | None = None
    redirect_url: str | None = None
    cloudfront: CloudFront | None = None
    basic_user: BasicUser | None = None
    token_auth: TokenAuth | None = None
    tls: TlsFiles | None = None
    s3: S3Storage | None = None
    deletion: bool = True


class Registry(Server):
    """A registry with its own directory.

    Args:
        kind: which program.
        directory: an empty directory for configuration, storage and log.
        options: what differs from a bare registry.
        port: loopback port; a free one if none is given.
    """

    def __init__(
        self,
        kind: RegistryKind,
        directory: Path,
        options: RegistryOptions | None = None,
        port: int | None = None,
    ) -> None:
        options = options or RegistryOptions()
        port = port or free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self.kind = kind
        self.storage = directory / "storage"
        config = directory / "config.yml"
        config.write_text(json.dumps(_configuration(options, port, self.storage, directory), indent=1))
        super().__init__(
            [str(find_program(kind)), "serve", str(config)],
            port,
            directory / "registry.log",
            ready_path="/v2/",
            # The S3 driver of 2.8.2 panics when AWS_CA_BUNDLE is set, even to nothing; and 3.1 exports
            # traces to a collector that does not exist unless told not to.
            environ={"OTEL_TRACES_EXPORTER": "none"},
            scheme="https" if options.tls else "http",
        )
        self._environ.pop("AWS_CA_BUNDLE", None)

    def data_path(self, digest_hex: str) -> Path:
        """The file of a blob in a directory's storage (`docker/registry/v2/blobs/sha256/xx/…/data`)."""
        blobs = self.storage / "docker/registry/v2/blobs/sha256"
        return blobs / digest_hex[:2] / digest_hex / "data"


def _configuration(options: RegistryOptions, port: int, storage: Path, directory: Path) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {
            **(_s3_storage(options.s3) if options.s3 else {"filesystem": {"rootdirectory": str(storage)}}),
            "delete": {"enabled": options.deletion},
        },
        "http": {
            "addr": f"{LOOPBACK}:{port}",
            # Otherwise every process makes up its own, and uploads do not survive a restart.
            "secret": "not a secret: a test registry on loopback",
        },
    }
    if options.tls:
        tls = {"certificate": str(options.tls.certificate), "key": str(options.tls.key)}
        configuration["http"]["tls"] = tls
    if options.redirect_url:
        redirect = {"name": "redirect", "options": {"baseurl": options.redirect_url}}
        configuration["middleware"] = {"storage": [redirect]}
    if options.cloudfront:
        configuration["middleware"] = {"storage": [_cloudfront(options.cloudfront)]}
    if options.notifications:
        configuration["notifications"] = _notifications(options.notifications)
    if options.basic_user:
        htpasswd = directory / "htpasswd"
        htpasswd.write_text(f"{options.basic_user.name}:{_BCRYPT}\n")
        configuration["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
    if options.token_auth:
        token = options.token_auth
        configuration["auth"] = {
            "token": {
                "realm": token.realm, "service": token.service, "issuer": token.issuer,
                "rootcertbundle": str(token.certificate),
            }
        }  # fmt: skip
    return configuration


def _cloudfront(wanted: CloudFront) -> dict[str, Any]:
    options = {
        "baseurl": wanted.base_url, "privatekey": str(wanted.private_key), "keypairid": wanted.key_pair_id,
        "duration": f"{wanted.duration_s}s",
    }  # fmt: skip
    return {"name": "cloudfront", "options": options}


def _s3_storage(s3: S3Storage) -> dict[str, Any]:
    endpoint = {"redirectendpoint": s3.redirect_endpoint} if s3.redirect_endpoint else {}
    return {
        "s3": {
            **endpoint,
            "regionendpoint": s3.endpoint, "region": s3.region,
            "bucket": s3.bucket, "rootdirectory": s3.prefix,
            "accesskey": s3.access_key, "secretkey": s3.secret_key,
            "secure": s3.endpoint.startswith("https:"), "v4auth": True, "forcepathstyle": True,
        }
    }  # fmt: skip


def _notifications(notifications: Notifications) -> dict[str, Any]:
    endpoint = {
        "name": "dragonhook",
        "url": notifications.url,
        "headers": {"Authorization": [f"Bearer {notifications.token}"]},
        "timeout": f"{notifications.timeout_s}s",
        "threshold": 5,
        "backoff": f"{notifications.backoff_s}s",
        # Before 3.1 `actions` counts only together with a media type (distribution#4730).
        "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
    }
    return {"endpoints": [endpoint]}
