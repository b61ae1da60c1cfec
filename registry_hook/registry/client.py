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
from typing import BinaryIO, Final, Self

import httpx

from converter.oci import Descriptor, Digest, InvalidDigestError, Manifest, media_types, parse_manifest
from converter.oci.manifest import MAX_MANIFEST_BYTES
from registry_hook.registry import paging
from registry_hook.registry.auth import CATALOG_SCOPES, repository_scopes
from registry_hook.registry.credentials import CredentialSource, NoCredentials
from registry_hook.registry.downloads import open_blob
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.errors import DigestMismatchError, NotFoundError, ProtocolError, SizeMismatchError
from registry_hook.registry.ranges import open_seekable
from registry_hook.registry.referrers import read_fallback_index
from registry_hook.registry.responses import shown
from registry_hook.registry.retry import RetryPolicy
from registry_hook.registry.session import REDIRECTS, Answer, Call, Session
from registry_hook.registry.uploads import BlobUpload

_ACCEPT: Final = {"Accept": ", ".join(media_types.ACCEPT_MANIFESTS)}
_MAX_ANSWER_BYTES: Final = 64 * 1024


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
        self.retry = retry or RetryPolicy()
        self.session = Session(endpoint, credentials or NoCredentials(), self.retry, transport)

    def ping(self) -> None:
        """Asks whether a registry answers at all (distribution spec 1.1, "Determining Support").

        Raises:
            RegistryUnavailableError: it does not.
            RegistryError: something answers, but not as a registry that takes our credentials.
        """
        self.session.fetch(Call("GET", "", ()), _MAX_ANSWER_BYTES)

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """Asks what a tag or digest names, without fetching it.

        Returns:
            Media type, digest and size; None if the registry does not have it.

        Raises:
            ProtocolError: the answer lacks one of them.
        """
        call = Call(
            "HEAD", f"{repository}/manifests/{reference}", repository_scopes(repository, "pull"), _ACCEPT
        )
        answer = self.session.fetch(call, 0, allowed=(404,))
        if answer.status == 404:
            return None
        digest, media_type = _announced_digest(answer), _media_type(answer)
        if digest is None or media_type is None:
            raise ProtocolError(f"{shown(answer.url)}: HEAD answered without digest or media type")
        _check_digest(f"{repository}:{reference}", reference, digest)
        return Descriptor(media_type, digest, _length(answer))

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Fetches a manifest or index by tag or digest.

        Raises:
            NotFoundError: the registry does not have it.
            DigestMismatchError: the bytes do not have the digest asked for or announced.
            InvalidManifestError: the bytes are not a manifest we can use.
        """
        call = Call(
            "GET", f"{repository}/manifests/{reference}", repository_scopes(repository, "pull"), _ACCEPT
        )
        answer = self.session.fetch(call, MAX_MANIFEST_BYTES)
        what, actual = f"manifest {repository}:{reference}", Digest.of(answer.body)
        _check_digest(what, reference, actual)
        announced = _announced_digest(answer)
        if announced not in (None, actual):
            raise DigestMismatchError(what, announced or actual, actual)
        return parse_manifest(answer.body, _media_type(answer))

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> bool:
        """Stores manifest bytes under a tag or their digest.

        Returns:
            Whether the registry said (by `OCI-Subject`) that it lists the manifest as a referrer itself; if
            not, the caller maintains the fallback index (`referrers.update_fallback_index`).

        Raises:
            DigestMismatchError: `reference` is the digest of other bytes, or the registry stored other bytes.
        """
        what, digest = f"manifest {repository}:{reference}", Digest.of(raw)
        _check_digest(what, reference, digest)
        path = f"{repository}/manifests/{reference}"
        call = Call(
            "PUT", path, repository_scopes(repository, "pull,push"), {"Content-Type": media_type}, raw
        )
        answer = self.session.fetch(call, _MAX_ANSWER_BYTES)
        stored = _announced_digest(answer)
        if stored not in (None, digest):
            raise DigestMismatchError(f"{what} as stored", digest, stored)
        return "OCI-Subject" in answer.headers

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Deletes a manifest and all tags that name it.

        Returns:
            Whether it was there.
        """
        call = Call("DELETE", f"{repository}/manifests/{digest}", repository_scopes(repository, "delete"))
        return self.session.fetch(call, _MAX_ANSWER_BYTES, allowed=(404,)).status != 404

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """The length of a blob in bytes; None if the repository does not have it."""
        call = Call("HEAD", f"{repository}/blobs/{digest}", repository_scopes(repository, "pull"))
        answer = self.session.fetch(call, 0, allowed=(404,))
        return None if answer.status == 404 else _length(answer)

    def tells_blob_sizes(self, repository: str, digest: Digest) -> bool:
        """Whether the registry itself answers a HEAD of a blob with a length, instead of a redirect.

        Raises:
            NotFoundError: the repository does not have the blob.
        """
        scopes = repository_scopes(repository, "pull")
        call = Call("HEAD", f"{repository}/blobs/{digest}", scopes, follow=False)
        answer = self.session.fetch(call, 0, allowed=tuple(REDIRECTS))
        return answer.status not in REDIRECTS and "Content-Length" in answer.headers

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob for reading.

        The stream raises DigestMismatchError or SizeMismatchError instead of handing out the last byte of
        wrong content, and goes on from the byte reached when the connection breaks.
        """
        return open_blob(self.session, self.retry, repository, descriptor)

    def open_seekable(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Opens a blob for reading anywhere in it, by ranges. Nothing but its length is checked."""
        return open_seekable(self.session, repository, descriptor)

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

        Raises:
            SizeMismatchError, DigestMismatchError: `source` is not what the descriptor says.
        """
        present = self.blob_size(repository, descriptor.digest)
        if present is not None:
            if present != descriptor.size:
                raise SizeMismatchError(
                    f"blob {repository}@{descriptor.digest} in the registry", descriptor.size, present
                )
            return False
        BlobUpload(self.session, self.retry, repository, descriptor, source).run(mount_from)
        return True

    def repositories(self) -> Iterator[str]:
        """The names of all repositories, page by page."""
        # Without `n`: a number above the registry's catalog.maxentries would be refused.
        for page in paging.pages(self.session, "_catalog", CATALOG_SCOPES):
            yield from paging.names(page, "repositories")

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, sorted; empty if the repository is unknown."""
        path = f"{repository}/tags/list?n=1000"  # 3.1 clamps the number, 2.8 ignores it
        found: set[str] = set()
        try:
            for page in paging.pages(self.session, path, repository_scopes(repository, "pull")):
                found.update(paging.names(page, "tags"))
        except NotFoundError:
            return []  # 404 is the answer for a repository without a manifest, too
        return sorted(found)

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """The manifests that name `digest` as their subject, in the registry's order.

        By the referrers API, or by the fallback tag where the registry has no such API.
        """
        found: list[Descriptor] = []
        path = f"{repository}/referrers/{digest}"
        try:
            for page in paging.pages(self.session, path, repository_scopes(repository, "pull")):
                if _media_type(page) != media_types.OCI_INDEX:
                    raise ProtocolError(f"{shown(page.url)}: the answer is not an image index")
                found += [Descriptor.from_json(item) for item in paging.items(page, "manifests")]
        except NotFoundError:
            index = read_fallback_index(self, repository, digest)
            return list(index.manifests) if index else []
        return found

    def close(self) -> None:
        """Closes the pooled connections."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _media_type(answer: Answer) -> str | None:
    """The type in `Content-Type`, without parameters."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip() or None


def _length(answer: Answer) -> int:
    """The length that the answer to a HEAD announces, in bytes."""
    text = answer.headers.get("Content-Length", "")
    if not text.isascii() or not text.isdigit():
        raise ProtocolError(f"{shown(answer.url)}: HEAD answered without a length")
    return int(text)


def _announced_digest(answer: Answer) -> Digest | None:
    text = answer.headers.get("Docker-Content-Digest")
    try:
        return Digest.parse(text) if text else None
    except InvalidDigestError as error:
        raise ProtocolError(f"{shown(answer.url)}: Docker-Content-Digest is no digest: {error}") from error


def _check_digest(what: str, reference: str, actual: Digest) -> None:
    """If `reference` is a digest (tags hold no colon), the content must have it."""
    if ":" in reference and reference != str(actual):
        raise DigestMismatchError(what, Digest.parse(reference), actual)
