"""Spoils layer blobs under a right table of contents, as somebody would who wants to be believed.

The digests in the table of contents catch nearly every change of bytes, so what lies behind them would
never be tried.
"""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from typing import Final

import zstandard

from converter.blob.layout import section_header
from tests.fuzz import mutate

_HEADER: Final = 512
_TOC: Final = struct.Struct("<I4x16s32sQQQ48x")
_CHUNK_INFO: Final = struct.Struct("<IIIIQQQQQI4032xI")  # docs/nydus-image.md §2.5
_STORED: Final = 1
_ZSTD: Final = 2
_MAX_CONTENT: Final = 1 << 22


@dataclass
class Parts:
    """What a blob with a table of contents consists of, uncompressed."""

    chunks: bytes
    chunk_info: bytes
    chunk_info_header: tuple[int, ...]
    digests: bytes
    bootstrap: bytes


def spoil(rng: random.Random, blob: bytes, others: list[bytes]) -> bytes:
    """Spoils one part of a blob and seals the rest again; a blob of another form is spoilt as bytes."""
    parts = split(blob)
    if parts is None or rng.random() < 0.15:
        return mutate.spoil(rng, blob, others)
    kind = rng.randrange(10)
    if kind < 4:
        parts.chunk_info = _spoil_table(rng, parts.chunk_info)
    elif kind < 6:
        parts.chunk_info_header = _spoil_header(rng, parts.chunk_info_header)
    elif kind == 6:
        parts.digests = mutate.spoil(rng, parts.digests)
    elif kind == 7:
        parts.chunks = mutate.spoil(rng, parts.chunks)
    else:
        parts.bootstrap = spoil_bootstrap(rng, parts.bootstrap)
    sealed = join(parts)
    return mutate.spoil(rng, sealed) if rng.random() < 0.05 else sealed


def spoil_bootstrap(rng: random.Random, data: bytes) -> bytes:
    """Spoils a bootstrap, mostly in one to four of its fields."""
    if rng.random() < 0.3:
        return mutate.spoil(rng, data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = mutate.spoil_integer(rng, data)
    return data


def split(blob: bytes) -> Parts | None:
    """The parts of a blob with a table of contents that describes it; None for any other."""
    sections: dict[bytes, bytes] = {}
    end = len(blob)
    while end >= _HEADER:
        header = blob[end - _HEADER : end]
        name, digits = header[:16].rstrip(b"\0"), header[124:135]
        if not digits.isdigit() or not name or name in sections:
            return None
        start = end - _HEADER - int(digits, 8)
        if start < 0:
            return None
        sections[name] = blob[start : end - _HEADER]
        end = start
    needed = {b"image.blob", b"blob.meta", b"blob.digest", b"image.boot", b"rafs.blob.toc"}
    if end or sections.keys() != needed:
        return None
    fields = _CHUNK_INFO.unpack(sections[b"blob.meta"][-_CHUNK_INFO.size :])
    unpacked = [
        content if entry[0] == _STORED else zstandard.ZstdDecompressor().decompress(content, _MAX_CONTENT)
        for content, entry in (
            (sections[b"blob.meta"][: -_CHUNK_INFO.size], _line(sections, b"blob.meta")),
            (sections[b"image.boot"], _line(sections, b"image.boot")),
        )
    ]
    return Parts(sections[b"image.blob"], unpacked[0], fields, sections[b"blob.digest"], unpacked[1])


def _line(sections: dict[bytes, bytes], name: bytes) -> tuple[int, ...]:
    toc = sections[b"rafs.blob.toc"]
    return next(line for line in _TOC.iter_unpack(toc) if line[1].rstrip(b"\0") == name)


def join(parts: Parts) -> bytes:
    """A blob of these parts, with right offsets, sizes and digests wherever the parts leave them alone."""
    blob, toc = b"", b""

    def add(name: bytes, content: bytes, stored: bytes, flag: int, digest: bytes | None = None) -> None:
        nonlocal blob, toc
        digest = digest or hashlib.sha256(content).digest()
        toc += _TOC.pack(flag, name, digest, len(blob), len(stored), len(content))
        blob += stored

    usize = _end_of(parts)
    with_header = parts.chunks + section_header(b"image.blob", len(parts.chunks))
    toc += _TOC.pack(
        _STORED, b"image.blob", hashlib.sha256(with_header).digest(), 0, len(parts.chunks), usize
    )
    blob += with_header
    table, flag = _pack(parts.chunk_info)
    offset = len(blob)
    add(b"blob.meta", parts.chunk_info, table, flag)
    magic, features, _, entries, _, _, _, *zran = parts.chunk_info_header
    packed = 0 if flag == _STORED else 2
    header = _CHUNK_INFO.pack(
        magic, features, packed, entries, offset, len(table), len(parts.chunk_info), *zran
    )
    add(b"blob.meta.header", header, header, _STORED)
    blob += section_header(b"blob.meta", len(table) + len(header))
    add(b"blob.digest", parts.digests, parts.digests, _STORED)
    blob += section_header(b"blob.digest", len(parts.digests))
    boot = zstandard.ZstdCompressor(level=1).compress(parts.bootstrap)
    add(b"image.boot", parts.bootstrap, boot, _ZSTD)
    blob += section_header(b"image.boot", len(boot))
    return blob + toc + section_header(b"rafs.blob.toc", len(toc))


def _pack(content: bytes) -> tuple[bytes, int]:
    packed = zstandard.ZstdCompressor(level=1).compress(content)
    return (packed, _ZSTD) if len(packed) < len(content) else (content, _STORED)


def _end_of(parts: Parts) -> int:
    """Where the last chunk of a table of version 1 ends in the uncompressed address space (§2.4)."""
    if len(parts.chunk_info) < 16:
        return 0
    word = int.from_bytes(parts.chunk_info[-16:-8], "little")
    size = (word >> 44 | (word >> 8 & 0xF) << 20) + 1
    return ((word & 0xFFFFFFFF000) + size + 4095) // 4096 * 4096


def _spoil_table(rng: random.Random, table: bytes) -> bytes:
    """Changes fields of whole rows, or rows."""
    if not table or rng.random() < 0.3:
        return mutate.spoil(rng, table)
    rows = [table[at : at + 16] for at in range(0, len(table), 16)]
    at = rng.randrange(len(rows))
    kind = rng.randrange(4)
    if kind == 0:
        rows.insert(rng.randint(0, len(rows)), rows[at])
    elif kind == 1:
        del rows[at]
    else:
        rows[at] = mutate.spoil_integer(rng, rows[at])
    return b"".join(rows)


def _spoil_header(rng: random.Random, header: tuple[int, ...]) -> tuple[int, ...]:
    """Changes the features, the number of entries, or what belongs to ZRAN."""
    fields = list(header)
    at = rng.choice((1, 1, 3, 7, 8, 9))
    width = 8 if at in (7, 8) else 4
    fields[at] = mutate.integer(rng, fields[at], width, 4096)
    return tuple(fields)
