"""Our own blob store."""

from __future__ import annotations

from p2p_seed.errors import StoreConfigurationError
from p2p_seed.store import BlobStore, S3Access, open_store
from registry_hook.errors import SettingsError
from registry_hook.settings import Settings
from registry_hook.settings_sections import S3Settings
from registry_hook.state import make_private


def blob_store(settings: Settings) -> BlobStore:
    """Opens the store; a directory that is missing is made.

    Raises:
        SettingsError: the location cannot be used.
    """
    try:
        if settings.store.location is None:
            make_private(settings.state_dir / "store")
        return open_store(settings.store_location, s3_access("store.s3", settings.store.s3), create=True)
    except StoreConfigurationError as error:
        raise SettingsError(f"store.location: {error}") from error
    except OSError as error:
        raise SettingsError(f"state_dir: {error}") from error


def s3_access(table: str, settings: S3Settings) -> S3Access:
    """How to reach an S3 server.

    Args:
        table: of the settings file, for messages.
        settings: what it says.

    Raises:
        SettingsError: the file with the secret key cannot be read.
    """
    return S3Access(
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        access_key=settings.access_key,
        secret_key=settings.secret(table),
        ca_bundle=settings.ca_bundle,
        path_style=settings.path_style,
    )
