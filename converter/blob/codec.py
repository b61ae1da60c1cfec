"""How stored bytes become content again: the one place for all that read chunks and sections.

A compression that is not here is refused by every reader with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import zstandard

from converter import lz4_block
from converter.errors import BlobError
from converter.rafs.layout import Compressor


def decompress(data: bytes, size: int, compressor: Compressor, what: str) -> bytes:
    """Decompresses what is stored compressed.

    Args:
        data: all of it, and nothing else.
        size: bytes that must come out.
        compressor: what compressed it.
        what: to name it in errors.

    Raises:
        BlobError: it is damaged or of another size, or the compression is not supported.
    """
    decode = _DECODE.get(compressor)
    if decode is None:
        raise BlobError(f"{what} is compressed with {compressor.name}, which is not supported")
    try:
        return decode(data, size)
    except (zstandard.ZstdError, BlobError) as error:
        raise BlobError(f"{what} cannot be decompressed: {error}") from error


def _decode_zstd(data: bytes, size: int) -> bytes:
    """Decompresses one zstd frame that must say itself how large its content is."""
    announced = zstandard.get_frame_parameters(data).content_size
    if announced != size:
        raise BlobError(f"it should have {size} bytes, its frame says {announced}")
    return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)


_DECODE: Final[Mapping[Compressor, Callable[[bytes, int], bytes]]] = MappingProxyType(
    {Compressor.ZSTD: _decode_zstd, Compressor.LZ4_BLOCK: lz4_block.decompress}
)
