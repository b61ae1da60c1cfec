"""Reads the flags of a superblock, which mean the same in both versions of RAFS (§3.3, §9.1)."""

from __future__ import annotations

from typing import Final

from converter.errors import BootstrapError
from converter.rafs.layout import COMPRESSOR_FLAG, DIGESTER_FLAG, Compressor, Digester, SuperFlag

# As plain integers: the complement of an IntFlag leaves out the bits that it has no name for.
# nydus-image up to 2.2 knows no encryption, and so does not say that there is none.
_OPTIONAL: Final = int(
    SuperFlag.EXPLICIT_UID_GID
    | SuperFlag.HAS_XATTR
    | SuperFlag.INLINED_CHUNK_DIGEST
    | SuperFlag.NOT_ENCRYPTED
)
_REFUSED: Final = {SuperFlag.TARFS: "a tarfs image", SuperFlag.ENCRYPTED: "an encrypted image"}


def read_flags(flags: int) -> tuple[Compressor, Digester]:
    """The compression and digest that the flags of a superblock name.

    Raises:
        BootstrapError: not exactly one of each, or a flag that is not supported.
    """
    for flag, what in _REFUSED.items():
        if flags & flag:
            raise BootstrapError(f"this is {what}, which is not supported")
    compressors = [value for value, flag in COMPRESSOR_FLAG.items() if flags & flag]
    digesters = [value for value, flag in DIGESTER_FLAG.items() if flags & flag]
    known = _OPTIONAL | sum(COMPRESSOR_FLAG.values()) | sum(DIGESTER_FLAG.values())
    if len(compressors) != 1 or len(digesters) != 1 or flags & ~known:
        raise BootstrapError(f"the superblock has the flags {flags:#x}, which are not supported")
    return compressors[0], digesters[0]
