"""Chunk lists of blobs, beside the blobs: with one, bytes from a peer can be proven piece by piece.

What a list holds is for its readers to know; here it is bytes, of which a blob has one. A list that is put
again takes the place of the one before: unlike a blob it does not name itself, so a spoilt one has to be
curable. As with blobs, a list is there whole or not at all, and once it is there it stays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError
from p2p_seed.store import durable_files
from p2p_seed.store.durable_files import INCOMING, incoming_file, require_root, sync_up_to, write_all
from p2p_seed.store.keys import chunk_list_key
from p2p_seed.store.location import parse_location
from p2p_seed.store.s3_access import S3Access

# 40 bytes a MiB make this the list of a blob of 1.6 TiB; a reader holds a list in memory.
MAX_LIST_BYTES: Final = 64 << 20


class ChunkLists(Protocol):
    """One chunk list for each blob. Every method may be called from many threads and processes at once."""

    def put(self, blob: Digest, content: bytes) -> None:
        """Stores the chunk list of a blob, durably; one with other content is replaced.

        Raises:
            ValueError: longer than `MAX_LIST_BYTES`.
            StoreUnavailableError: the store failed; nothing half-written is visible.
            StoreConfigurationError: the store refuses to be written.
        """
        ...

    def get(self, blob: Digest) -> bytes | None:
        """The chunk list of a blob, or None if it has none.

        Raises:
            CorruptBlobError: what is stored in its place is no chunk list.
            StoreUnavailableError: it cannot be told now.
            StoreConfigurationError: the store refuses to be read.
        """
        ...


def open_chunk_lists(location: str, s3: S3Access | None = None) -> ChunkLists:
    """The chunk lists of the store at a location, which must have been opened or made before.

    Args:
        location: as in `open_store`.
        s3: likewise.

    Raises:
        StoreConfigurationError: likewise.
    """
    place = parse_location(location)
    if isinstance(place, Path):
        return DirectoryChunkLists(place)
    # Importing boto3 takes 0.2 s, and many installations never need it.
    from p2p_seed.store.s3_chunk_lists import S3ChunkLists

    return S3ChunkLists(place.name, place.prefix, s3 or S3Access())


class DirectoryChunkLists:
    """Chunk lists below the root of a directory store.

    Args:
        root: must exist.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, blob: Digest, content: bytes) -> None:
        """See `ChunkLists.put`."""
        refuse_too_long(blob, len(content))
        target = self._root / chunk_list_key(blob)
        with durable_files.translated(f"store the chunk list of {blob} in {self._root}"):
            require_root(self._root)
            if not _holds(target, content):
                target.parent.mkdir(parents=True, exist_ok=True)
                with incoming_file(self._root / INCOMING, blob) as (descriptor, name):
                    write_all(descriptor, content)
                    os.fsync(descriptor)
                    os.replace(name, target)
            # Also for one that is there: whoever put it may not have come that far.
            sync_up_to(self._root, target.parent)

    def get(self, blob: Digest) -> bytes | None:
        """See `ChunkLists.get`."""
        path = self._root / chunk_list_key(blob)
        with durable_files.translated(f"read the chunk list of {blob} from {self._root}"):
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_LIST_BYTES + 1)
            except FileNotFoundError:
                require_root(self._root)
                return None
            except IsADirectoryError as error:
                raise CorruptBlobError(f"{path} is not an ordinary file: remove it") from error
        if len(content) > MAX_LIST_BYTES:
            raise CorruptBlobError(f"{path} is no chunk list: it is over {MAX_LIST_BYTES} bytes; remove it")
        return content


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def refuse_too_long(blob: Digest, size_bytes: int) -> None:
    """Refuses what no reader would take.

    Raises:
        ValueError: longer than `MAX_LIST_BYTES`.
    """
    if size_bytes > MAX_LIST_BYTES:
        raise ValueError(
            f"the chunk list of {blob} has {size_bytes} bytes; at most {MAX_LIST_BYTES} are kept"
        )
