"""Taking bytes out of blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.errors import InvalidLayerError
from converter.tar import ByteSource


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=10), st.lists(st.integers(0, 30), max_size=20))
def test_pieces_are_those_of_the_joined_blocks(blocks: list[bytes], sizes: list[int]) -> None:
    whole, position = b"".join(blocks), 0
    source = ByteSource(iter(blocks))
    for number, size in enumerate(sizes):
        if position + size > len(whole):
            with pytest.raises(InvalidLayerError, match="ends early"):
                source.take(size)
            return
        if number % 2:
            source.skip(size)
        else:
            assert source.take(size) == whole[position : position + size]
        position += size


def test_the_end_is_told_from_a_cut() -> None:
    source = ByteSource(iter([b"abc"]))
    assert source.take_or_end(3) == b"abc"
    assert source.take_or_end(3) == b""
    with pytest.raises(InvalidLayerError, match="1 bytes more"):
        ByteSource(iter([b"ab"])).take_or_end(3)


def test_only_padding_may_be_missing_at_the_end() -> None:
    source = ByteSource(iter([b"abc"]))
    source.skip_padding(10)
    assert source.take_or_end(1) == b""
    with pytest.raises(InvalidLayerError, match="7 bytes more"):
        ByteSource(iter([b"abc"])).skip(10)


@pytest.mark.parametrize(
    ("blocks", "clean"), [([b"x\0", b"\0\0"], True), ([b"x\0", b"\0a"], False), ([b"xa"], False)]
)
def test_rest_of_zeros(blocks: list[bytes], clean: bool) -> None:
    source = ByteSource(iter(blocks))
    source.take(1)
    assert source.only_zeros_left() is clean
