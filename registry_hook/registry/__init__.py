"""The client of an OCI registry, and everything that talks to one."""

from registry_hook.registry.client import RegistryClient
from registry_hook.registry.credentials import (
    Credential,
    CredentialSource,
    DockerConfigCredentials,
    FixedCredentials,
    NoCredentials,
)
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.errors import (
    ConfigurationError,
    ContentError,
    CredentialsError,
    DeniedError,
    DigestMismatchError,
    NotFoundError,
    NoTlsError,
    ProtocolError,
    ReferrersConflictError,
    RefusedError,
    RegistryError,
    RegistryUnavailableError,
    RetryLaterError,
    SizeMismatchError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from registry_hook.registry.referrers import Merge, read_fallback_index, update_fallback_index
from registry_hook.registry.retry import RetryPolicy

__all__ = [
    "ConfigurationError",
    "ContentError",
    "Credential",
    "CredentialSource",
    "CredentialsError",
    "DeniedError",
    "DigestMismatchError",
    "DockerConfigCredentials",
    "FixedCredentials",
    "Merge",
    "NoCredentials",
    "NoTlsError",
    "NotFoundError",
    "ProtocolError",
    "ReferrersConflictError",
    "RefusedError",
    "RegistryClient",
    "RegistryEndpoint",
    "RegistryError",
    "RegistryUnavailableError",
    "RetryLaterError",
    "RetryPolicy",
    "SizeMismatchError",
    "UnauthorizedError",
    "UntrustedCertificateError",
    "read_fallback_index",
    "update_fallback_index",
]
