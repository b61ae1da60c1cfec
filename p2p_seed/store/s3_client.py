"""The one place that knows boto3: how a client is made, and what its errors mean for our callers.

botocore itself repeats requests that fail in passing (its "standard" mode, with growing pauses), so nothing
around an S3 store should repeat them once more.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from p2p_seed.errors import StoreConfigurationError, StoreError, StoreUnavailableError
from p2p_seed.store.s3_access import S3Access

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def make_client(access: S3Access) -> S3Client:
    """A client of its own, safe to use from many threads.

    Raises:
        StoreConfigurationError: the endpoint or the credentials cannot be used, or the CA file is missing.
    """
    if (access.access_key is None) != (access.secret_key is None):
        raise StoreConfigurationError("S3 needs both access key and secret key, or neither of them")
    if access.ca_bundle is not None:
        try:
            ssl.create_default_context(cafile=access.ca_bundle)
        except OSError as error:
            raise StoreConfigurationError(
                f"cannot use the CA file {access.ca_bundle} for S3: {error}"
            ) from error
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if access.path_style else "virtual"},
        connect_timeout=access.connect_timeout_s,
        read_timeout=access.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": access.attempts},
        max_pool_connections=access.connections,
        # We send a SHA-256 of our own wherever it counts; a CRC beside it would only cost time, and some
        # servers refuse the trailer it comes in. Whoever reads compares with the blob's digest.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=access.endpoint_url,
            region_name=access.region,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            verify=str(access.ca_bundle) if access.ca_bundle else None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise StoreConfigurationError(f"S3 cannot be used as configured: {error}") from error


def error_code(error: ClientError) -> str:
    """The server's error code, such as `NoSuchKey`; for an answer without a body, its status."""
    return error.response.get("Error", {}).get("Code", "")


def status(error: ClientError) -> int:
    """The HTTP status of the server's answer; 0 if there is none."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@contextlib.contextmanager
def translated(action: str) -> Iterator[None]:
    """Turns whatever boto3 raises into errors of ours.

    Args:
        action: what was tried, to complete "cannot …".
    """
    try:
        yield
    except StoreError:
        raise
    except ClientError as error:
        raise _from_answer(action, error) from error
    except (*_SETTINGS, SSLError) as error:
        raise StoreConfigurationError(f"cannot {action}: {error}") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreUnavailableError(f"cannot {action}: {error}") from error


_SETTINGS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ParamValidationError,
)

# Client errors (4xx) that say nothing about the settings: the connection was slow, the bytes were damaged on
# their way, somebody else was writing the same key, or the server wants fewer requests.
_PASSING: Final = frozenset(
    {
        "RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
        "IncompleteBody", "ConditionalRequestConflict", "OperationAborted", "SlowDown", "TooManyRequests",
        "ThrottlingException", "NoSuchUpload",
    }
)  # fmt: skip


def _from_answer(action: str, error: ClientError) -> StoreError:
    message = f"cannot {action}: {error}"
    if (status(error) >= 500 and status(error) != 501) or error_code(error) in _PASSING:
        return StoreUnavailableError(message)
    if status(error) == 403:
        message += (
            "; check keys, clock and bucket policy: s3:GetObject, PutObject, DeleteObject, ListBucket,"
            " AbortMultipartUpload and ListBucketMultipartUploads are needed"
        )
    return StoreConfigurationError(message)
