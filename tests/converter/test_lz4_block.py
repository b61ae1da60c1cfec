"""LZ4 blocks: the raw format, and what is made of garbage."""

from __future__ import annotations

import random

import pytest

from converter import lz4_block
from converter.errors import BlobError

TEXT = b"all work and no play makes jack a dull boy\n" * 1000


def test_a_block_is_raw() -> None:
    """Written by hand from the LZ4 block format: 1 literal, a match of 15 + 255 + … bytes, 5 literals."""
    block = lz4_block.compress(b"z" * 100)
    # token: 1 literal, match length 15+; the literal; offset 1; 94 - 4 - 15 more; token: 5 literals.
    assert block == bytes((0x1F, ord("z"), 1, 0, 75, 0x50)) + b"z" * 5
    assert lz4_block.decompress(block, 100) == b"z" * 100


@pytest.mark.parametrize("content", [b"", b"a", TEXT, random.Random(1).randbytes(1 << 16)])
def test_there_and_back(content: bytes) -> None:
    assert lz4_block.decompress(lz4_block.compress(content), len(content)) == content


@pytest.mark.parametrize("size", [0, len(TEXT) - 1, len(TEXT) + 1, 1 << 24])
def test_a_wrong_size_is_an_error(size: int) -> None:
    with pytest.raises(BlobError, match="LZ4 block"):
        lz4_block.decompress(lz4_block.compress(TEXT), size)


def test_garbage_is_an_error() -> None:
    block = lz4_block.compress(TEXT)
    source = random.Random(2)
    for cut in (0, 1, len(block) // 2, len(block) - 1):
        with pytest.raises(BlobError, match="LZ4 block"):
            lz4_block.decompress(block[:cut], len(TEXT))
    with pytest.raises(BlobError, match="LZ4 block"):
        lz4_block.decompress(block + b"\0", len(TEXT))
    for _ in range(200):
        try:
            lz4_block.decompress(source.randbytes(50), 4096)
        except BlobError:
            continue
