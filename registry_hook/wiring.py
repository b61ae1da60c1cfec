"""The composition root: builds the parts of each process from the settings. Nothing else knows them all."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from converter.options import ConvertOptions
from p2p_seed.store import BlobStore, S3Access, open_store
from registry_hook.errors import SettingsError
from registry_hook.gateway import GatewaySettings
from registry_hook.jobs.database import is_sqlite, open_engine
from registry_hook.jobs.locks import FileLocks, Locks, PostgresLocks
from registry_hook.jobs.model import Jobs
from registry_hook.registry import (
    Credential,
    CredentialSource,
    DockerConfigCredentials,
    FixedCredentials,
    NoCredentials,
    RegistryClient,
    RegistryEndpoint,
)
from registry_hook.services import Services
from registry_hook.set_aside import SetAsideBodies
from registry_hook.settings import Settings
from registry_hook.settings_sections import RegistrySettings, S3Settings, parse_address, read_secret_file
from registry_hook.spool import Spool
from signer.keys import SigningKey

_log = structlog.get_logger(__name__)


def services(settings: Settings, jobs: Jobs, now_s: Callable[[], float] = time.time) -> Services:
    """What jobs work with."""
    client = registry_client(settings.registry)
    return Services(
        registry=client,
        registry_name=settings.registry.name or client.endpoint.host,
        store=store(settings),
        signer=signing_key(settings),
        builder_id=settings.signing.builder_id,
        options=convert_options(settings),
        spool=Spool(settings.spool_dir),
        locks=locks(settings),
        jobs=jobs,
        now_s=now_s,
        sleep=time.sleep,
    )


def registry_client(settings: RegistrySettings) -> RegistryClient:
    """The client of the watched registry."""
    endpoint = RegistryEndpoint(
        settings.url,
        ca_file=settings.ca_file,
        plain_http_redirects=settings.plain_http_redirects,
        read_timeout_s=settings.timeout_s,
    )
    return RegistryClient(endpoint, _credentials(settings, endpoint.host))


def convert_options(settings: Settings) -> ConvertOptions:
    """How images are converted.

    Raises:
        SettingsError: values that exclude each other.
    """
    wanted = settings.convert
    try:
        return ConvertOptions(
            compressor=wanted.compressor,
            level=wanted.level,
            kernel_mountable=wanted.kernel_mountable,
            threads=wanted.threads,
        )
    except ValueError as error:
        raise SettingsError(f"convert: {error}") from error


def store(settings: Settings) -> BlobStore:
    """Our own blob store, made if it is a directory that is missing."""
    return open_store(settings.store_location, s3_access(settings.store.s3), create=True)


def locks(settings: Settings) -> Locks:
    """Locks that all workers of the job database share."""
    if is_sqlite(settings.database_url):
        return FileLocks(settings.state_dir / "locks")
    # Each waiting or working job may need a connection at the same time.
    busy = settings.jobs.publications * 2 + settings.jobs.conversions
    return PostgresLocks(open_engine(settings.database_url, pool_size=busy))


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


def set_aside(settings: Settings) -> SetAsideBodies:
    """Where notifications go that are not understood."""
    return SetAsideBodies(settings.state_dir / "set-aside")


def signing_key(settings: Settings) -> SigningKey:
    """The key: the one given, else one that is made at the first start.

    Its public half is written into the state directory for those who verify.
    """
    password = (settings.signing.secret() or "").encode() or None
    if settings.signing.key_file is not None:
        key = SigningKey.load(settings.signing.key_file, password)
    else:
        key = SigningKey.load_or_generate(settings.signing_key_file, password)
    _publish_file(settings.public_key_file, key.public_key.pem)
    return key


def webhook_token(settings: Settings) -> str:
    """The token that notifications must carry: the one given, else one that is made at the first start."""
    given = settings.web.secret()
    if given is not None:
        return given
    path = settings.token_file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            # Fails where another process of the service was faster: all of them use one token.
            os.link(partial, path)
            _log.info("made a token for notifications", file=str(path))
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return read_secret_file(path)


def _publish_file(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    partial.write_bytes(content)
    partial.rename(path)


def _credentials(settings: RegistrySettings, host: str) -> CredentialSource:
    password = settings.secret()
    if settings.username is not None and password is not None:
        return FixedCredentials({host: Credential(settings.username, password)})
    if settings.username is not None or password is not None:
        raise SettingsError("registry: username and password belong together")
    if settings.docker_config is not None:
        return DockerConfigCredentials(settings.docker_config)
    return NoCredentials()
