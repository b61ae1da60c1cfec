"""Spoils tars as a broken or hostile writer would: fields, records and order, under right checksums.

A mutation of bytes alone seldom passes the checksum of a header, and never that of a compression.
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zstandard

from tests.fuzz import mutate
from tests.images.tar import BLOCK, END, pax_records

# Offset and length of each field, and whether it is a number (tests/images/tar.py).
_FIELDS: Final = (
    (0, 100, False), (100, 8, True), (108, 8, True), (116, 8, True), (124, 12, True), (136, 12, True),
    (157, 100, False), (257, 8, False), (329, 8, True), (337, 8, True), (345, 155, False),
    (386, 12, True), (398, 12, True), (483, 12, True),
)  # fmt: skip
_KINDS: Final = b"0\x00123456 7gxLKSDXV"
_NAMES: Final = (
    b"", b".", b"./", b"/", b"..", b"a/../b", b"/a", b"a//b/./c", b"a", b"d", b"d/e", b".wh.a", b".wh.",
    b".wh..wh..opq", b"d/.wh..wh..opq", b".wh..", b".wh...", b".wh..wh.x", b"x" * 255, b"x" * 256,
    b"a/" * 1500, b"\xff\xfe", b"a\nb", b" ",
)  # fmt: skip
_NUMBERS: Final = (
    b"",
    b" ",
    b"0",
    b"7777777",
    b"8",
    b"-1",
    b"\x80",
    b"\xff" * 12,
    b"\x80" + b"\xff" * 11,
    b"9" * 12,
)
_PAX_KEYS: Final = (
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"atime", b"SCHILY.xattr.user.a",
    b"SCHILY.xattr.",
    b"SCHILY.xattr.security.capability", b"SCHILY.xattr.system.posix_acl_access", b"SCHILY.xattr.trusted.a",
    b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.size", b"GNU.sparse.realsize",
    b"GNU.sparse.map", b"GNU.sparse.numblocks", b"GNU.sparse.offset", b"GNU.sparse.numbytes",
    b"hdrcharset", b"",
)  # fmt: skip
_PAX_VALUES: Final = (
    b"", b"0", b"1", b"-1", b"1.5", b"-0.000000001", b"1e9", b"9" * 18, b"9" * 19, b"9" * 30, b"+5", b" 1",
    b"0,0", b"0,10,20,10", b"0,1000000000000000", b"5,1,0,1", b"\0", b"a\0b", b"a=b", b"\n", b"x" * 300, b"d",
    b"70000", b"a", b"0x1", b"1000000000000", b"1,2,3",
)  # fmt: skip


@dataclass
class Unit:
    """A header record and the blocks of its content."""

    header: bytearray
    content: bytearray


def split(tar: bytes) -> list[Unit]:
    """Cuts an archive into entries; extended headers are entries of their own here."""
    units = []
    at = 0
    while at + BLOCK <= len(tar) and tar[at : at + BLOCK].strip(b"\0"):
        digits = tar[at + 124 : at + 135].strip(b" \0")
        size = int(digits, 8) if digits.isdigit() and not {b"8"[0], b"9"[0]} & set(digits) else 0
        if tar[at + 156] in b"123456":
            size = 0
        end = at + BLOCK + size + -size % BLOCK
        units.append(Unit(bytearray(tar[at : at + BLOCK]), bytearray(tar[at + BLOCK : end])))
        at = end
    return units


def join(units: list[Unit], end: bytes = END) -> bytes:
    """The archive of these entries."""
    return b"".join(bytes(unit.header + unit.content) for unit in units) + end


def seal(header: bytearray) -> None:
    """Puts the right checksum into a header."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)


def spoil(rng: random.Random, tar: bytes, others: list[bytes]) -> bytes:
    """Spoils a plain tar in one to six places."""
    units = split(tar)
    if not units or rng.random() < 0.05:
        return mutate.spoil(rng, tar, others)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        _change(rng, units, others)
    spoilt = join(
        units, rng.choice((END, END, END, b"", bytes(BLOCK), bytes(20 * BLOCK), rng.randbytes(BLOCK)))
    )
    return mutate.spoil(rng, spoilt) if rng.random() < 0.02 else spoilt[: mutate.MAX_SIZE]


def _change(rng: random.Random, units: list[Unit], others: list[bytes]) -> None:
    unit = rng.choice(units)
    kind = rng.randrange(12)
    if kind < 5:
        _spoil_header(rng, unit.header)
    elif kind < 8 and (extended := [unit for unit in units if unit.header[156] in b"xg"]):
        _spoil_records(rng, rng.choice(extended))
    elif kind == 8:
        unit.content[:] = mutate.spoil(rng, bytes(unit.content))[: 8 * BLOCK].ljust(8 * BLOCK, b"\0")
        unit.header[124:136] = b"%011o\0" % len(unit.content)
        seal(unit.header)
    elif kind == 9:
        units.insert(rng.randint(0, len(units)), Unit(bytearray(unit.header), bytearray(unit.content)))
    elif kind == 10 and len(units) > 1:
        units.remove(unit)
        if rng.random() < 0.5:
            units.insert(rng.randint(0, len(units)), unit)
    elif others and (more := split(rng.choice(others))):
        units.insert(rng.randint(0, len(units)), rng.choice(more))


def _spoil_header(rng: random.Random, header: bytearray) -> None:
    offset, length, is_number = rng.choice(_FIELDS)
    old = bytes(header[offset : offset + length])
    kind = rng.randrange(4)
    if kind == 0:
        header[156] = rng.choice(_KINDS)
    elif kind == 1:
        header[offset : offset + length] = mutate.spoil(rng, old)[:length].ljust(length, b"\0")
    elif is_number and rng.random() < 0.7:
        value = mutate.integer(rng, 512, rng.choice((2, 4, 8)), 4096)
        encoded = b"%0*o\0" % (length - 1, value)
        header[offset : offset + length] = (
            encoded if len(encoded) == length else (value | 1 << (8 * length - 1)).to_bytes(length, "big")
        )
    else:
        values = _NUMBERS if is_number else _NAMES
        header[offset : offset + length] = rng.choice(values)[:length].ljust(length, b"\0")
    if rng.random() < 0.97:
        seal(header)


def _spoil_records(rng: random.Random, unit: Unit) -> None:
    records = _read_records(bytes(unit.content))
    if not records or rng.random() < 0.4:
        records.append((rng.choice(_PAX_KEYS), rng.choice(_PAX_VALUES)))
    else:
        at = rng.randrange(len(records))
        key, value = records[at]
        records[at] = rng.choice(
            (
                (key, rng.choice(_PAX_VALUES)),
                (rng.choice(_PAX_KEYS), value),
                (key, mutate.spoil(rng, value)[:2000]),
            )
        )
    content = b"".join(pax_records({key: value}) for key, value in records)
    if rng.random() < 0.1:
        content = mutate.spoil(rng, content)
    unit.header[124:136] = b"%011o\0" % len(content)
    unit.content[:] = content + bytes(-len(content) % BLOCK)
    seal(unit.header)


def _read_records(content: bytes) -> list[tuple[bytes, bytes]]:
    records = []
    at = 0
    while (space := content.find(b" ", at)) > at and content[at:space].isdigit():
        end = at + int(content[at:space])
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        records.append((key, value))
        at = end if end > at else len(content)
    return records


def store(rng: random.Random, tar: bytes) -> bytes:
    """Compresses a tar in one of the ways that layers come in; now and then the result is spoilt, too."""
    stored = rng.choice(_STORES)(rng, tar)
    return mutate.spoil(rng, stored) if rng.random() < 0.08 else stored


def store_gzip(rng: random.Random, tar: bytes) -> bytes:
    """Compresses a tar by gzip, in members and deflate blocks of many sizes."""
    return rng.choice((_gzip, _members, _named_member, _flushed))(rng, tar)


def _flushed(rng: random.Random, tar: bytes) -> bytes:
    """One member of many deflate blocks, empty ones among them."""
    packer = zlib.compressobj(rng.choice((1, 6)), zlib.DEFLATED, 31, 8, rng.choice((zlib.Z_FIXED, 0)))
    flushes = (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH)
    pieces = [packer.compress(piece) + packer.flush(rng.choice(flushes)) for piece in _pieces(rng, tar)]
    return b"".join(pieces) + packer.flush()


def _plain(rng: random.Random, tar: bytes) -> bytes:
    return tar


def _gzip(rng: random.Random, tar: bytes) -> bytes:
    return gzip.compress(tar, rng.choice((0, 1, 6)), mtime=0)


def _members(rng: random.Random, tar: bytes) -> bytes:
    return b"".join(gzip.compress(piece, 1, mtime=0) for piece in _pieces(rng, tar)) + bytes(
        rng.choice((0, 0, 7))
    )


def _named_member(rng: random.Random, tar: bytes) -> bytes:
    """A member with every optional field of RFC 1952, the header's checksum among them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\x04\0SG\0\0" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    tail = zlib.crc32(tar).to_bytes(4, "little") + len(tar).to_bytes(4, "little")
    return head + packer.compress(tar) + packer.flush() + tail


def _zstd(rng: random.Random, tar: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(
        level=1, write_checksum=rng.random() < 0.5, write_content_size=rng.random() < 0.5
    )
    return packer.compress(tar)


def _frames(rng: random.Random, tar: bytes) -> bytes:
    skippable = b"\x5a\x2a\x4d\x18\x05\0\0\0extra"
    frames = [zstandard.ZstdCompressor(level=1).compress(piece) for piece in _pieces(rng, tar)]
    frames.insert(rng.randint(0, len(frames)), skippable)
    return b"".join(frames)


def _pieces(rng: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


_STORES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _plain, _plain, _gzip, _members, _named_member, _zstd, _frames,
)  # fmt: skip
