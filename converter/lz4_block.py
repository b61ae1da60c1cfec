"""The LZ4 block format, the only part of LZ4 that RAFS knows (§2.4): no frame, no length in front.

Owns the library. A block does not say how long its content is; the chunk table does.
"""

from __future__ import annotations

import lz4.block  # type: ignore[import-untyped]  # the library has no types

from converter.errors import BlobError


def compress(data: bytes) -> bytes:
    """One block, with the library's default acceleration."""
    block: bytes = lz4.block.compress(data, mode="default", store_size=False)
    return block


def decompress(block: bytes | memoryview, size: int) -> bytes:
    """The content of one block.

    Args:
        block: all of it, and nothing else.
        size: bytes of the content; this many are allocated.

    Raises:
        BlobError: damaged, or of another size.
    """
    try:
        data: bytes = lz4.block.decompress(block, uncompressed_size=size)
    except (lz4.block.LZ4BlockError, ValueError, OverflowError) as error:
        raise BlobError(f"an LZ4 block of {len(block)} bytes cannot be decompressed: {error}") from error
    if len(data) != size:
        raise BlobError(f"an LZ4 block has {len(data)} bytes of content, not {size}")
    return data


def library_version() -> str:
    """Version of the LZ4 library, which decides the bytes of a block."""
    version: str = lz4.library_version_string()
    return version
