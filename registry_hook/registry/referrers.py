"""Updates of the fallback referrers index (OCI distribution spec 1.1, "Referrers Tag Schema").

Distribution has neither a referrers API nor If-Match: the writers of one index have to keep out of each
other's way. Eight parallel writers without a lock left one entry of eight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, TypeAlias

from converter.oci import Descriptor, Digest, ImageIndex, fallback_tag, media_types
from registry_hook.registry.errors import (
    NotFoundError,
    ProtocolError,
    ReferrersConflictError,
    RefusedError,
)

if TYPE_CHECKING:  # The client lists referrers by the functions here.
    from registry_hook.registry.client import RegistryClient

# Gives the wanted index for the existing one, without the entries whose digests are given.
Merge: TypeAlias = Callable[[bytes | None, Collection[str]], bytes]

_MANIFEST_UNKNOWN: Final = "MANIFEST_BLOB_UNKNOWN"


def read_fallback_index(client: RegistryClient, repository: str, subject: Digest) -> ImageIndex | None:
    """Fetches the fallback index of `subject`; None if there is none.

    Raises:
        ProtocolError: something else than an index lies under the tag.
    """
    tag = fallback_tag(subject)
    try:
        found = client.manifest(repository, tag)
    except NotFoundError:
        return None
    if not isinstance(found, ImageIndex):
        raise ProtocolError(f"{repository}:{tag} should be a referrers index, but is {found.media_type}")
    return found


def update_fallback_index(
    client: RegistryClient,
    repository: str,
    subject: Digest,
    merge: Merge,
    lock: AbstractContextManager[object],
) -> Descriptor:
    """Merges entries into the fallback index of `subject`.

    Reads, merges, puts and reads back, until merging what is there changes nothing. The lock keeps other
    writers of ours out; reading back notices a foreign writer that came between (it cannot notice one that
    comes later).

    Args:
        client: the registry.
        repository: where subject and referrers lie.
        subject: digest that the referrers name.
        merge: gives the wanted index for the existing one (None: there is none), without the entries whose
            digests are given. Merging its own result must give the same bytes.
        lock: held while the index is changed; one lock per (registry, repository, subject) for all writers.

    Returns:
        The index that is in place.

    Raises:
        ReferrersConflictError: foreign writers changed the index in every attempt.
    """
    attempts = client.retry.start()
    gone: Collection[str] | None = None
    with lock:
        while True:
            existing = read_fallback_index(client, repository, subject)
            raw = merge(existing.raw if existing else None, gone or ())
            if existing is not None and existing.raw == raw:
                return existing.descriptor
            try:
                client.put_manifest(repository, fallback_tag(subject), raw, media_types.OCI_INDEX)
            except RefusedError as error:
                if existing is None or gone is not None or _MANIFEST_UNKNOWN not in error.codes:
                    raise
                gone = _missing(client, repository, existing)
                continue
            written = read_fallback_index(client, repository, subject)
            if written is not None and written.raw == raw:
                return written.descriptor
            if not attempts.again():
                raise ReferrersConflictError(
                    f"{repository}:{fallback_tag(subject)} was changed by somebody else in every attempt"
                )


def _missing(client: RegistryClient, repository: str, index: ImageIndex) -> Collection[str]:
    """The entries of an index whose manifests were deleted: Distribution takes no index that lists one."""
    digests = {str(entry.digest) for entry in index.manifests}
    return {digest for digest in digests if client.resolve(repository, digest) is None}
