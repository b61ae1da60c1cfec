"""Reading a local file that is about to be stored, hashing on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path

from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError, DigestMismatchError, SourceUnreadableError


def verified_pieces(source: Path, digest: Digest, piece_bytes: int) -> Generator[bytes, None, None]:
    """The content of `source`; the last `next()` raises if its digest is not the one expected.

    Args:
        source: an ordinary file.
        digest: what all bytes together must hash to.
        piece_bytes: length of every piece but the last.

    Yields:
        Pieces of `piece_bytes`, the last one shorter; none for an empty file.

    Raises:
        DigestMismatchError: all pieces were given out, and they are not the blob.
        SourceUnreadableError: the file cannot be read.
    """
    hasher = hashlib.sha256()
    try:
        with source.open("rb") as file:
            while piece := file.read(piece_bytes):
                hasher.update(piece)
                yield piece
    except OSError as error:
        raise SourceUnreadableError(f"cannot read {source} to store it as {digest}: {error}") from error
    if hasher.hexdigest() != digest.hex:
        raise DigestMismatchError(f"{source} was to be {digest}, but has sha256:{hasher.hexdigest()}")


def source_size(source: Path, digest: Digest) -> int:
    """Length of `source` in bytes.

    Raises:
        SourceUnreadableError: the file cannot be read.
    """
    try:
        return source.stat().st_size
    except OSError as error:
        raise SourceUnreadableError(f"cannot read {source} to store it as {digest}: {error}") from error


def refuse_other_size(digest: Digest, source: Path, stored_bytes: int, piece_bytes: int) -> None:
    """Says which side is wrong when a blob is stored with another length than `source` has.

    Raises:
        DigestMismatchError: `source` is not the blob.
        CorruptBlobError: `source` is the blob, so what is stored cannot be.
        SourceUnreadableError: the file cannot be read.
    """
    for _ in verified_pieces(source, digest, piece_bytes):
        pass
    raise CorruptBlobError(
        f"{digest} is stored with {stored_bytes} bytes, but has {source_size(source, digest)}: "
        "remove the stored object and put the blob again"
    )
