"""A second reader of converted blobs and bootstraps, so that the converter's own is not its judge.

Offsets and fields: RAFS v6 as nydus-image 2.2 writes and reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import lz4.block  # type: ignore[import-untyped]
import zstandard

_TAR_BLOCK = 512
_CI_HEADER = struct.Struct("<IIIIQQQQQI")
_CI_MAGIC = 0xB10BB10B
_TOC_ENTRY = struct.Struct("<II16s32sQQQ48x")
_ZSTD_LIMIT = 1 << 30


@dataclass(frozen=True)
class Section:
    """A piece of a layer blob, as the tar header behind it says."""

    name: str
    offset: int
    content: bytes


@dataclass(frozen=True)
class Chunk:
    """An entry of the chunk information table; sizes and offsets in bytes."""

    compressed_offset: int
    compressed_size: int
    uncompressed_offset: int
    uncompressed_size: int


def sections(blob: bytes) -> dict[str, Section]:
    """The sections of a layer blob, found from its end backwards; they must fill it without a gap."""
    found: dict[str, Section] = {}
    end = len(blob)
    while end:
        header = blob[end - _TAR_BLOCK : end]
        assert header[257:265] == b"ustar  \0", f"no tar header before offset {end}"
        name = header[:100].rstrip(b"\0").decode()
        size = int(header[124:135], 8)
        start = end - _TAR_BLOCK - size
        assert start >= 0, f"section {name} is longer than what is before it"
        found[name] = Section(name, start, blob[start : start + size])
        end = start
    return found


def layer_bootstrap(blob: bytes) -> bytes:
    """The layer's own bootstrap, which the table of contents locates."""
    parts = sections(blob)
    for flags, _, name, digest, offset, size, real_size in _TOC_ENTRY.iter_unpack(
        parts["rafs.blob.toc"].content
    ):
        if name.rstrip(b"\0") == b"image.boot":
            stored = blob[offset : offset + size]
            assert stored == parts["image.boot"].content
            content = zstandard.ZstdDecompressor().decompress(stored, real_size) if flags == 2 else stored
            assert len(content) == real_size
            assert sha256(content).digest() == digest
            return content
    raise AssertionError("the table of contents has no image.boot")


def chunks(blob: bytes) -> list[Chunk]:
    """The chunk information table of a layer blob, checked against its header."""
    parts = sections(blob)
    if "blob.meta" not in parts:
        return []
    meta = parts["blob.meta"]
    header = meta.content[-4096:]
    magic, _, compressor, count, offset, size, real_size, *_ = _CI_HEADER.unpack_from(header)
    assert (magic, struct.unpack_from("<I", header, 4092)[0]) == (_CI_MAGIC, _CI_MAGIC)
    assert (offset, size) == (meta.offset, len(meta.content) - 4096)
    table = meta.content[:-4096]
    if compressor == 3:
        table = zstandard.ZstdDecompressor().decompress(table, _ZSTD_LIMIT)
    assert len(table) == real_size == 16 * count
    return [_chunk(u, c) for u, c in struct.iter_unpack("<QQ", table)]


def _chunk(u: int, c: int) -> Chunk:
    return Chunk(
        compressed_offset=c & 0xFF_FFFF_FFFF,
        compressed_size=((c >> 40 & 0xF) << 20 | c >> 44) + 1,
        uncompressed_offset=u & 0xFFF_FFFF_F000,
        uncompressed_size=((u >> 8 & 0xF) << 20 | u >> 44) + 1,
    )


def expand(blob: bytes, target: Path) -> None:
    """Writes the blob's uncompressed address space: what nydusd keeps as its cache file."""
    end = 0
    flags = struct.unpack_from("<Q", layer_bootstrap(blob), 1152)[0]
    with target.open("wb") as output:
        for chunk in chunks(blob):
            stored = blob[chunk.compressed_offset : chunk.compressed_offset + chunk.compressed_size]
            if chunk.compressed_size != chunk.uncompressed_size:
                stored = _decompress(stored, chunk.uncompressed_size, is_lz4=bool(flags & 2))
            assert len(stored) == chunk.uncompressed_size
            output.seek(chunk.uncompressed_offset)
            output.write(stored)
            end = chunk.uncompressed_offset + chunk.uncompressed_size
        output.truncate(end + -end % 4096)


def _decompress(stored: bytes, size: int, *, is_lz4: bool) -> bytes:
    if is_lz4:
        return bytes(lz4.block.decompress(stored, uncompressed_size=size))
    return zstandard.ZstdDecompressor().decompress(stored, size)


def device_tags(bootstrap: bytes) -> Iterator[str]:
    """The blob ids in the order of the device table, which is the order of the `device=` options."""
    count, slot = struct.unpack_from("<HH", bootstrap, 1024 + 86)
    for number in range(count):
        offset = (slot + number) * 128
        yield bootstrap[offset : offset + 64].rstrip(b"\0").decode()
