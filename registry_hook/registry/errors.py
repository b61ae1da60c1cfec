"""Errors of the registry client, split by what the caller does next.

::

    RegistryError
    ├── RetryLaterError                  the same call may succeed later
    │   ├── RegistryUnavailableError     no answer, a broken connection, 429 or 5xx, after the bounded retries
    │   └── ReferrersConflictError       somebody else kept changing a fallback index
    ├── RefusedError                     the registry answered no: repeating the call changes nothing
    │   ├── NotFoundError                404
    │   ├── UnauthorizedError            401, after answering the challenge
    │   └── DeniedError                  403, or a token without the needed scope
    ├── ConfigurationError               the operator has to change a file or a setting
    │   ├── CredentialsError             docker config or credential helper unusable
    │   ├── NoTlsError                   the registry does not speak TLS where we do
    │   └── UntrustedCertificateError    TLS certificate not signed by a known authority
    ├── ProtocolError                    an answer that the distribution specification does not allow
    └── ContentError                     what came is not what was asked for: alert, never retry blindly
        ├── DigestMismatchError
        └── SizeMismatchError
"""

from __future__ import annotations

from converter.oci import Digest, WrongContentError


class RegistryError(Exception):
    """Any failure of the registry client."""


class RetryLaterError(RegistryError):
    """The same call may succeed later."""


class RegistryUnavailableError(RetryLaterError):
    """The registry (or the host it redirected to) gave no usable answer."""


class ReferrersConflictError(RetryLaterError):
    """A fallback referrers index kept changing under our update."""


class RefusedError(RegistryError):
    """The registry refused a request.

    Args:
        message: what was asked, and what the registry said.
        status: HTTP status code.
        codes: error codes of the distribution specification, such as `MANIFEST_INVALID`.
    """

    def __init__(self, message: str, status: int, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes


class NotFoundError(RefusedError):
    """The repository, manifest, blob or upload does not exist."""


class UnauthorizedError(RefusedError):
    """The credentials are missing or wrong."""


class DeniedError(RefusedError):
    """The credentials are right, but do not allow this."""


class ConfigurationError(RegistryError):
    """A file or setting has to be changed by the operator."""


class CredentialsError(ConfigurationError):
    """The docker config is unreadable, or a credential helper failed."""


class NoTlsError(ConfigurationError):
    """The registry does not speak TLS at an address where it should."""


class UntrustedCertificateError(ConfigurationError):
    """The registry's TLS certificate is not signed by a known authority, or is for another name."""


class ContentError(RegistryError, WrongContentError):
    """Received content is not what was asked for."""


class DigestMismatchError(ContentError):
    """Content with another digest.

    Args:
        what: the content, as it was asked for.
        expected: digest asked for.
        actual: digest of what came; None if only the other side has calculated it.
    """

    def __init__(self, what: str, expected: Digest, actual: Digest | None) -> None:
        super().__init__(f"{what}: expected {expected}, received {actual or 'something else'}")
        self.expected = expected
        self.actual = actual


class SizeMismatchError(ContentError):
    """Content that is longer or shorter than its descriptor says.

    Args:
        what: the content, as it was asked for.
        expected: length in bytes from the descriptor.
        actual: length in bytes of what came, at the least (reading stops when it is too long).
    """

    def __init__(self, what: str, expected: int, actual: int) -> None:
        super().__init__(f"{what}: expected {expected} bytes, received {actual}")
        self.expected = expected
        self.actual = actual


class ProtocolError(RegistryError):
    """An answer that the distribution specification does not allow."""
