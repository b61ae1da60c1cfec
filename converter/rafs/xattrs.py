"""Extended attributes as they lie behind an inode (§3.7, "Xattrs")."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt

from converter.errors import LimitExceededError
from converter.rafs.layout import MAX_XATTR_BYTES, XATTR_ENTRY_SIZE, XATTR_HEADER_SIZE, round_up

# Prefix and its number on disk. Of the `system.` ones only the two whole names exist, so their rest is empty.
PREFIXES: Final = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
ENTRY: Final = Struct("<BBH")  # bytes of the name behind its prefix, number of the prefix, bytes of the value

Xattrs = tuple[tuple[bytes, bytes], ...]


def split_name(name: bytes) -> tuple[int, bytes] | None:
    """Splits a full name into the number of its prefix and the rest; None if RAFS cannot express it."""
    for prefix, number in PREFIXES:
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            return (number, rest) if bool(rest) != prefix.startswith(b"system.") else None
    return None


def encode_xattrs(xattrs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encodes the xattrs of one inode.

    Args:
        xattrs: full names and values in the order wanted on disk.

    Returns:
        A header of 12 bytes and the entries; a multiple of 4 bytes, empty without xattrs.

    Raises:
        LimitExceededError: a name or value is too long, there are too many, or RAFS does not know the prefix.
    """
    out = bytearray(XATTR_HEADER_SIZE)
    for name, value in xattrs:
        parts = split_name(name)
        if parts is None:
            raise LimitExceededError(f"RAFS cannot hold the extended attribute {name!r}")
        number, rest = parts
        if len(name) > 255 or len(value) > 0xFFFF:
            raise LimitExceededError(
                f"the extended attribute {name[:80]!r} of {len(value)} bytes is too long"
            )
        out += ENTRY.pack(len(rest), number, len(value)) + rest + value
        out += bytes(-len(out) % XATTR_ENTRY_SIZE)
    if len(out) > MAX_XATTR_BYTES:
        raise LimitExceededError(
            f"the extended attributes of a file take {len(out)} bytes, too many for RAFS"
        )
    return bytes(out) if len(out) > XATTR_HEADER_SIZE else b""


def xattr_icounts(sizes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """What inodes say of the bytes of their encoded xattrs."""
    return np.where(sizes == 0, 0, (sizes - XATTR_HEADER_SIZE) // XATTR_ENTRY_SIZE + 1)


def decode_xattrs(data: bytes) -> Xattrs:
    """Reads what `encode_xattrs` writes, in any order: that of nydus-image is random.

    Returns:
        Full names and values, sorted by name.

    Raises:
        ValueError: an entry leaves the data, has an unknown prefix, a name comes twice, or shared xattrs are
            used.
    """
    if not data:
        return ()
    if len(data) < XATTR_HEADER_SIZE or any(data[:XATTR_HEADER_SIZE]):
        raise ValueError("xattrs with a header that is not empty")
    known = {number: prefix for prefix, number in PREFIXES}
    xattrs = []
    at = XATTR_HEADER_SIZE
    while at < len(data):
        if len(data) - at < ENTRY.size:
            raise ValueError("an xattr entry is cut off")
        name_size, number, value_size = ENTRY.unpack_from(data, at)
        at += ENTRY.size
        if number not in known or at + name_size + value_size > len(data):
            raise ValueError("an xattr entry has an unknown prefix or leaves the inode")
        name = known[number] + data[at : at + name_size]
        xattrs.append((name, data[at + name_size : at + name_size + value_size]))
        at += round_up(name_size + value_size, XATTR_ENTRY_SIZE)
    if len(dict(xattrs)) != len(xattrs):
        raise ValueError("a name of an xattr comes twice")
    return tuple(sorted(xattrs))
