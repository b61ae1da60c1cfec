"""What jobs work with: registry, store, key, locks."""

from __future__ import annotations

import time
from collections.abc import Callable

from converter.options import ConvertOptions
from p2p_seed.supernode import NoneEngine
from registry_hook.dedup import DedupPolicy
from registry_hook.errors import SettingsError
from registry_hook.jobs.database import is_sqlite, open_engine
from registry_hook.jobs.locks import FileLocks, PostgresLocks
from registry_hook.jobs.model import Jobs, Locks
from registry_hook.services import Services
from registry_hook.settings import Settings
from registry_hook.spool import Spool
from registry_hook.wiring.blob_store import blob_store
from registry_hook.wiring.registry import registry_client
from registry_hook.wiring.secrets import signing_key


def services(settings: Settings, jobs: Jobs, now_s: Callable[[], float] = time.time) -> Services:
    """What jobs work with."""
    client = registry_client(settings.registry)
    return Services(
        registry=client,
        registry_name=settings.registry.name or client.endpoint.host,
        store=blob_store(settings),
        seeding=NoneEngine(),
        signer=signing_key(settings),
        builder_id=settings.signing.builder_id,
        options=convert_options(settings),
        spool=Spool(settings.spool_dir),
        locks=locks(settings),
        jobs=jobs,
        now_s=now_s,
        sleep=time.sleep,
        dedup=DedupPolicy(settings.dedup.repositories, settings.dedup.versions, settings.dedup.max_borrowed),
        merged_index=settings.publish.merged_index,
    )


def convert_options(settings: Settings) -> ConvertOptions:
    """How images are converted.

    Raises:
        SettingsError: values that exclude each other.
    """
    wanted = settings.convert
    try:
        return ConvertOptions(
            fs_version=wanted.fs_version,
            compressor=wanted.compressor,
            level=wanted.level,
            chunk_size=wanted.chunk_size,
            kernel_mountable=wanted.kernel_mountable,
            oci_ref=wanted.oci_ref,
            digester=wanted.digester,
            prefetch=wanted.prefetch,
            media_types=wanted.media_types,
            share_layers=wanted.share_layers,
            include_foreign=wanted.include_foreign,
            threads=wanted.threads,
        )
    except ValueError as error:
        raise SettingsError(f"convert: {error}") from error


def locks(settings: Settings) -> Locks:
    """Locks that all workers of the job database share."""
    if is_sqlite(settings.database_url):
        return FileLocks(settings.state_dir / "locks")
    # Each waiting or working job may need a connection at the same time.
    busy = settings.jobs.publications * 2 + settings.jobs.conversions
    return PostgresLocks(open_engine(settings.database_url, pool_size=busy))
