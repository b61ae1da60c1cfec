"""The client of the watched registry."""

from __future__ import annotations

from registry_hook.errors import SettingsError
from registry_hook.registry import (
    ConfigurationError,
    Credential,
    CredentialSource,
    DockerConfigCredentials,
    FixedCredentials,
    NoCredentials,
    RegistryClient,
    RegistryEndpoint,
)
from registry_hook.settings_sections import RegistrySettings


def registry_client(settings: RegistrySettings) -> RegistryClient:
    """The client of the watched registry.

    Raises:
        SettingsError: the address, the CA file or the credentials cannot be used.
    """
    try:
        endpoint = RegistryEndpoint(
            settings.url,
            ca_file=settings.ca_file,
            plain_http_redirects=settings.plain_http_redirects,
            read_timeout_s=settings.timeout_s,
        )
        return RegistryClient(endpoint, _credentials(settings, endpoint.host))
    except ConfigurationError as error:
        raise SettingsError(f"registry: {error}") from error


def _credentials(settings: RegistrySettings, host: str) -> CredentialSource:
    password = settings.secret()
    if settings.username is not None and password is not None:
        return FixedCredentials({host: Credential(settings.username, password)})
    if settings.username is not None or password is not None:
        raise SettingsError("registry: username and password belong together")
    if settings.docker_config is not None:
        return DockerConfigCredentials(settings.docker_config)
    return NoCredentials()
