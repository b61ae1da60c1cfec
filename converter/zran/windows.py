"""Finds out which of the data before a place in a gzip file are needed to go on from there.

A match of deflate reaches back 32 KiB at most, so what follows a place can refer to the 32 KiB before it. In
real layers it refers to a small part of them. The rest is made zero, and what is unused in front is left out;
so windows, the bulk of an index, shrink several times.

Only the first 32 KiB of output can refer to the window itself; what follows refers to those. To see which
bytes of the window they copy, they are inflated with windows that say where each byte stands.
"""

from __future__ import annotations

import numpy as np

from converter.errors import BlobError
from converter.zran.libz import RAW, WINDOW_SIZE, InflateError, Inflater


def needed_window(window: bytes, bits: int, byte: int, stored: bytes, output: bytes) -> bytes:
    """The part of a window that is needed, with zeros for what is not.

    Args:
        window: the data before the place, at most 32 KiB.
        bits: of the byte before the place, how many belong to what follows.
        byte: that byte.
        stored: the deflate data from the place on, enough for `output`.
        output: the data that follow: 32 KiB, or all up to the end of the gzip member.

    Returns:
        A shorter window, which ends where the given one does, and with which the same `output` comes out.

    Raises:
        BlobError: it does not, which must never happen.
    """
    position = np.arange(len(window), dtype=np.uint16)
    # Two windows that differ everywhere, and in what they have together tell the position.
    low = (position & 0xFF).astype(np.uint8)
    other = (low + (position >> 8) + 1).astype(np.uint8)
    size = len(output)
    first, second = (
        np.frombuffer(_inflate(marks.tobytes(), bits, byte, stored, size), np.uint8) for marks in (low, other)
    )
    if len(first) != size or len(second) != size:
        raise BlobError(f"an inflate context gives {len(first)} bytes, not {size}")
    copied = first != second
    used = (second[copied] - first[copied] - 1).astype(np.uint16) << 8 | first[copied]
    kept = np.zeros(len(window), np.uint8)
    kept[used] = np.frombuffer(window, np.uint8)[used]
    shorter = kept[int(used.min()) :].tobytes() if len(used) else b""
    if _inflate(shorter, bits, byte, stored, size) != output:
        raise BlobError("an inflate context gives other data than its layer")
    return shorter


def _inflate(window: bytes, bits: int, byte: int, stored: bytes, size: int) -> bytes:
    """The first `size` bytes of output; fewer if `stored` gives no more."""
    if not size:
        return b""
    with Inflater(RAW, WINDOW_SIZE) as inflater:
        inflater.begin_inside(bits, byte, window)
        inflater.feed(stored)
        try:
            return inflater.inflate(stop_at_block=False)[:size]
        except InflateError as error:
            raise BlobError(f"an inflate context cannot be used: {error}") from error
