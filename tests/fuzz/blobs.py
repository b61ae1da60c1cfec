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
_COMPRESSOR_ZSTD: Final = 3  # in the header of the chunk info table
_VERSION_2: Final = 0x4  # among the features of a blob: its chunk info is of version 2
_MAX_CONTENT: Final = 1 << 22


@dataclass
class Parts:
    """What a blob with a table of contents consists of, uncompressed.

    Args:
        chunks: the chunk section; None if there is none.
        elsewhere: header and line of the table of contents of a chunk section that is announced, but is in
            another file (as nydus-image writes index blobs); else None.
        chunk_info: the chunk info table.
        chunk_info_header: fields of its header, magics included.
        digests: of the chunks.
        bootstrap: the one inside.
    """

    chunks: bytes | None
    elsewhere: tuple[bytes, bytes] | None
    chunk_info: bytes
    chunk_info_header: tuple[int, ...]
    digests: bytes
    bootstrap: bytes

    @property
    def row_size(self) -> int:
        """Bytes of a row of the chunk info table."""
        return 24 if self.chunk_info_header[1] & _VERSION_2 else 16


def spoil(rng: random.Random, blob: bytes, others: list[bytes]) -> bytes:
    """Spoils one part of a blob and seals the rest again; a blob of another form is spoilt as bytes."""
    parts = split(blob)
    if parts is None or rng.random() < 0.15:
        return mutate.spoil(rng, blob, others)
    kind = rng.randrange(10)
    if kind < 4:
        parts.chunk_info = _spoil_table(rng, parts.chunk_info, parts.row_size)
    elif kind < 6:
        parts.chunk_info_header = _spoil_header(rng, parts.chunk_info_header)
    elif kind == 6:
        parts.digests = mutate.spoil(rng, parts.digests)
    elif kind == 7 and parts.chunks is not None:
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
    """The parts of a blob with a table of contents; None for any other."""
    sections: dict[bytes, bytes] = {}
    elsewhere = None
    end = len(blob)
    while end >= _HEADER:
        header = blob[end - _HEADER : end]
        name, digits = header[:16].rstrip(b"\0"), header[124:135]
        if not digits.isdigit() or not name or name in sections:
            return None
        start = end - _HEADER - int(digits, 8)
        if start < 0 and end == _HEADER and name == b"image.blob" and b"rafs.blob.toc" in sections:
            elsewhere = header, sections[b"rafs.blob.toc"][: _TOC.size]
            break
        if start < 0:
            return None
        sections[name] = blob[start : end - _HEADER]
        end = start
    if sections.keys() - {b"image.blob"} != {b"blob.meta", b"blob.digest", b"image.boot", b"rafs.blob.toc"}:
        return None
    meta = sections[b"blob.meta"]
    return Parts(
        chunks=sections.get(b"image.blob"),
        elsewhere=elsewhere,
        chunk_info=_unpack(sections, b"blob.meta", meta[: -_CHUNK_INFO.size]),
        chunk_info_header=_CHUNK_INFO.unpack(meta[-_CHUNK_INFO.size :]),
        digests=sections[b"blob.digest"],
        bootstrap=_unpack(sections, b"image.boot", sections[b"image.boot"]),
    )


def _unpack(sections: dict[bytes, bytes], name: bytes, stored: bytes) -> bytes:
    lines = _TOC.iter_unpack(sections[b"rafs.blob.toc"])
    flag = next(line[0] for line in lines if line[1].rstrip(b"\0") == name)
    return stored if flag == _STORED else zstandard.ZstdDecompressor().decompress(stored, _MAX_CONTENT)


def join(parts: Parts) -> bytes:
    """A blob of these parts, with right offsets, sizes and digests wherever the parts leave them alone."""
    blob, toc = _chunk_section(parts)
    table, flag = _pack(parts.chunk_info)
    magic, features, _, entries, _, _, _, *zran = parts.chunk_info_header
    compressor = 0 if flag == _STORED else _COMPRESSOR_ZSTD
    header = _CHUNK_INFO.pack(
        magic, features, compressor, entries, len(blob), len(table), len(parts.chunk_info), *zran
    )
    toc += _toc_line(b"blob.meta", parts.chunk_info, len(blob), table, flag)
    toc += _toc_line(b"blob.meta.header", header, len(blob) + len(table), header, _STORED)
    blob += table + header + section_header(b"blob.meta", len(table) + len(header))
    toc += _toc_line(b"blob.digest", parts.digests, len(blob), parts.digests, _STORED)
    blob += parts.digests + section_header(b"blob.digest", len(parts.digests))
    bootstrap = zstandard.ZstdCompressor(level=1).compress(parts.bootstrap)
    toc += _toc_line(b"image.boot", parts.bootstrap, len(blob), bootstrap, _ZSTD)
    blob += bootstrap + section_header(b"image.boot", len(bootstrap))
    return blob + toc + section_header(b"rafs.blob.toc", len(toc))


def _chunk_section(parts: Parts) -> tuple[bytes, bytes]:
    """The beginning of a blob and of its table of contents."""
    if parts.elsewhere is not None:
        return parts.elsewhere
    if parts.chunks is None:
        return b"", b""
    blob = parts.chunks + section_header(b"image.blob", len(parts.chunks))
    digest = hashlib.sha256(blob).digest()
    return blob, _TOC.pack(_STORED, b"image.blob", digest, 0, len(parts.chunks), _end_of(parts))


def _toc_line(name: bytes, content: bytes, offset: int, stored: bytes, flag: int) -> bytes:
    return _TOC.pack(flag, name, hashlib.sha256(content).digest(), offset, len(stored), len(content))


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


def _spoil_table(rng: random.Random, table: bytes, size: int) -> bytes:
    """Changes fields of whole rows, or rows."""
    if not table or rng.random() < 0.3:
        return mutate.spoil(rng, table)
    rows = [table[at : at + size] for at in range(0, len(table), size)]
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
