"""Compressed layers: what is read, what is refused, and how much memory a step can take."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from converter.decompress import BLOCK_SIZE, decompress
from converter.errors import InvalidLayerError

CONTENT = random.Random(1).randbytes(70_000) + bytes(3_000_000) + b"end" * 50_000
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"extra"


def read(data: bytes) -> bytes:
    return b"".join(decompress(io.BytesIO(data)))


def zstd(content: bytes, *, checksum: bool = True, size: bool = True) -> bytes:
    compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
    return compressor.compress(content)


def zstd_stream(content: bytes) -> bytes:
    """Without a content size, as a pipe gets it, and in many blocks."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    pieces = [content[i : i + 10_000] for i in range(0, len(content), 10_000)]
    parts = [compressor.compress(p) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for p in pieces]
    return b"".join(parts) + compressor.flush()


FORMS = {
    "plain": CONTENT,
    "gzip": gzip.compress(CONTENT),
    "gzip-stored": gzip.compress(CONTENT, 0),
    "gzip-members": gzip.compress(CONTENT[:100]) + gzip.compress(b"") + gzip.compress(CONTENT[100:]),
    "gzip-padded": gzip.compress(CONTENT) + bytes(1000),
    "zstd": zstd(CONTENT),
    "zstd-no-checksum": zstd(CONTENT, checksum=False),
    "zstd-no-size": zstd(CONTENT, size=False),
    "zstd-stream": zstd_stream(CONTENT),
    "zstd-frames": zstd(CONTENT[:100]) + zstd(b"") + zstd(CONTENT[100:]),
    "zstd-skippable": SKIPPABLE + zstd(CONTENT[:9]) + SKIPPABLE + zstd(CONTENT[9:]) + SKIPPABLE,
    "zstd-padded": zstd(CONTENT) + bytes(1000),
}
COMPRESSED = sorted(set(FORMS) - {"plain"})


class Dribble:
    """Gives a few bytes at a time, as a socket may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._rest = io.BytesIO(data)
        self._step = step
        self.over = False

    def read(self, size: int, /) -> bytes:
        data = self._rest.read(min(size, self._step))
        self.over = not data
        return data


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_content(form: str) -> None:
    blocks = list(decompress(io.BytesIO(FORMS[form])))
    assert b"".join(blocks) == CONTENT
    assert all(0 < len(block) <= BLOCK_SIZE for block in blocks)


@pytest.mark.parametrize("form", FORMS)
def test_reads_of_any_size_give_the_same(form: str) -> None:
    data = FORMS[form]
    whole = read(data)
    for step in (997, 65_536):
        assert b"".join(decompress(Dribble(data, step))) == whole


def test_nothing_is_nothing() -> None:
    assert read(b"") == b""


@pytest.mark.parametrize(
    "form", ["gzip", "gzip-members", "zstd", "zstd-no-checksum", "zstd-stream", "zstd-frames"]
)
def test_truncated_input_is_an_error(form: str) -> None:
    data = FORMS[form]
    for cut in (6, 11, 18, len(data) // 2, len(data) - 5, len(data) - 1):
        with pytest.raises(InvalidLayerError, match="truncated"):
            read(data[:cut])


@pytest.mark.parametrize("form", COMPRESSED)
@pytest.mark.parametrize("tail", [b"garbage", b"\0\0\0garbage", b"\x1f", b"\x28\xb5"])
def test_garbage_behind_the_end_is_an_error(form: str, tail: bytes) -> None:
    with pytest.raises(InvalidLayerError, match=r"garbage|truncated"):
        read(FORMS[form] + tail)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_changed_bytes_are_an_error(form: str) -> None:
    data = FORMS[form]
    for position in (3_000, len(data) - 2):
        changed = bytearray(data)
        changed[position] ^= 0x10
        with pytest.raises(InvalidLayerError, match=rf"{form} data are damaged|truncated"):
            read(bytes(changed))


@pytest.mark.parametrize(("magic", "name"), [(b"BZh91AY", "bzip2"), (b"\xfd7zXZ\x00\0", "xz")])
def test_other_compressions_are_named(magic: bytes, name: str) -> None:
    with pytest.raises(InvalidLayerError, match=name):
        read(magic + bytes(100))


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_bomb_comes_out_in_small_blocks(compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(bytes(64 << 20))
    assert len(bomb) < 100_000
    for count, block in enumerate(decompress(io.BytesIO(bomb)), 1):
        assert len(block) <= BLOCK_SIZE
        if count == 20:
            break


def test_the_source_is_read_to_its_end() -> None:
    """A verifying stream tells at its end whether the digest was right, so the end has to be reached."""
    for form, data in FORMS.items():
        stream = Dribble(data, 50_000)
        for _ in decompress(stream):
            pass
        assert stream.over, form


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_content_or_our_error(data: bytes) -> None:
    for start in (b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"):
        with suppress(InvalidLayerError):
            read(start + data)


@given(st.lists(st.binary(max_size=2000), max_size=5), st.booleans(), st.integers(0, 600))
def test_any_frames_give_their_contents_and_no_cut_is_silent(
    parts: list[bytes], checksum: bool, cut: int
) -> None:
    frames = [zstd(part, checksum=checksum, size=len(part) % 2 == 0) for part in parts]
    whole = b"".join(frames)
    assert read(whole) == b"".join(parts)
    ends = {sum(map(len, frames[:count])) for count in range(len(frames) + 1)}
    # With less than the magic number it cannot be known as zstd at all.
    if 4 <= cut < len(whole) and cut not in ends:
        with pytest.raises(InvalidLayerError, match="truncated"):
            read(whole[:cut])
