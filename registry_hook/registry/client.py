"""The client of one OCI registry.

Works from the address in the configuration, never from one that an event carries. Manifests are checked
against the digest asked for, blobs while they stream. Nothing is retried here (see
`registry_hook.registry.retry`).

Sources: OCI distribution spec 1.1; behaviour of Distribution 2.8.2 and 3.1.2 as measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from converter.oci import Descriptor, Digest, Manifest
from registry_hook.registry.credentials import CredentialSource, NoCredentials
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.retry import RetryPolicy


class RegistryClient:
    """Requests to one registry; may be used by many threads at once.

    Args:
        endpoint: address and TLS settings.
        credentials: where user names and passwords come from.
        retry: how often failed requests are repeated.
        transport: what sends the requests, instead of sockets (for tests).
    """

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        credentials: CredentialSource | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.credentials = credentials or NoCredentials()
        self.retry = retry or RetryPolicy()
        raise NotImplementedError

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """Asks what a tag or digest names, without fetching it.

        Returns:
            Media type, digest and size; None if the registry does not have it.
        """
        raise NotImplementedError

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Fetches a manifest or index by tag or digest.

        Raises:
            NotFoundError: the registry does not have it.
            DigestMismatchError: the bytes do not have the digest asked for or announced.
            InvalidManifestError: the bytes are not a manifest we can use.
        """
        raise NotImplementedError

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> bool:
        """Stores manifest bytes under a tag or their digest.

        Returns:
            Whether the registry said (by `OCI-Subject`) that it lists the manifest as a referrer itself; if
            not, the caller maintains the fallback index (`referrers.update_fallback_index`).
        """
        raise NotImplementedError

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Deletes a manifest and all tags that name it.

        Returns:
            Whether it was there.
        """
        raise NotImplementedError

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """The length of a blob in bytes; None if the repository does not have it."""
        raise NotImplementedError

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob for reading.

        The stream raises DigestMismatchError or SizeMismatchError instead of handing out the last byte of
        wrong content, and goes on from the byte reached when the connection breaks.
        """
        raise NotImplementedError

    def put_blob(
        self, repository: str, descriptor: Descriptor, source: Path | bytes, mount_from: str | None = None
    ) -> bool:
        """Stores a blob, unless the repository has it.

        Args:
            repository: where to store it.
            descriptor: digest and size of the content.
            source: the content, or the file that holds it.
            mount_from: another repository of this registry that may have the blob.

        Returns:
            False if it was there already.
        """
        raise NotImplementedError

    def repositories(self) -> Iterator[str]:
        """The names of all repositories, page by page."""
        raise NotImplementedError

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, sorted; empty if the repository is unknown."""
        raise NotImplementedError

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """The manifests that name `digest` as their subject, in the registry's order.

        By the referrers API, or by the fallback tag where the registry has no such API.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Closes the pooled connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
