"""Reads the middle of a gzip layer with the help of its index, as strictly as nydusd does."""

from __future__ import annotations

from converter.blob.chunk_info_v2 import GzipWindows
from converter.errors import BlobError
from converter.zran.contexts import MAX_CONTEXT_OUTPUT
from converter.zran.libz import RAW, InflateError, Inflater


def stored_range(windows: GzipWindows, context: int) -> tuple[int, int]:
    """Which bytes of the layer a context needs: where they begin, and how many they are."""
    record = windows.contexts[context]
    return int(record["in_offset"]), int(record["in_size"])


def inflate_context(windows: GzipWindows, context: int, stored: bytes) -> bytes:
    """What a context inflates to, all of its chunks in it.

    Args:
        windows: the index of the layer.
        context: which of its contexts.
        stored: the bytes of the layer that `stored_range` tells.

    Raises:
        BlobError: the layer is not the one that the index was made of, or one of them is damaged. nydusd
            (nydus-utils 0.4.1 src/compress/zlib_random.rs) refuses the same.
    """
    record = windows.contexts[context]
    size, what = int(record["out_size"]), f"inflate context {context}"
    if not 0 < size <= MAX_CONTEXT_OUTPUT:
        raise BlobError(f"{what} would give {size} bytes, not 1 to {MAX_CONTEXT_OUTPUT}")
    if len(stored) != record["in_size"]:
        raise BlobError(f"{what} needs {record['in_size']} bytes of the layer, not {len(stored)}")
    with Inflater(RAW, size) as inflater:
        try:
            inflater.begin_inside(int(record["bits"]), int(record["byte"]), windows.dictionary(context))
            inflater.feed(stored)
            output = inflater.inflate(stop_at_block=False)
        except InflateError as error:
            raise BlobError(f"{what} cannot be used: {error}") from error
        if inflater.ended or len(output) != size:
            raise BlobError(f"{what} comes to an end after {len(output)} of {size} bytes")
    return output
