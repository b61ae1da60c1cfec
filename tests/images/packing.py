"""Layers in every compression that an image may have them in."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import zstandard

from converter.oci import media_types
from tests.images.estargz import encode_estargz
from tests.images.odd.case import Case, case
from tests.images.tar import Entry, directory, encode_tar, file, hardlink, symlink

_BGZF_BLOCK = 0xFF00  # bytes of content; SAM specification 4.1
_SKIPPABLE = b"\x50\x2a\x4d\x18"  # RFC 8878, 3.1.2


@dataclass(frozen=True)
class Packing:
    """A way to store a layer.

    Args:
        name: the directory in the layer, too.
        media_type: of the layer.
        pack: makes the stored bytes and the tar in them from the entries.
    """

    name: str
    media_type: str
    pack: Callable[[Sequence[Entry]], tuple[bytes, bytes]]

    def case(self) -> Case:
        """What is in the layer, as a case."""
        return case(self.name, _entries())

    def layer(self) -> tuple[bytes, bytes]:
        """The stored bytes and the tar of a layer with a few files."""
        return self.pack(self.case().entries(0))


def _entries() -> list[Entry]:
    noise = random.Random(5).randbytes(150_000)
    return [
        directory("d"),
        file("d/noise", noise),
        file("d/text", b"a line that comes again and again\n" * 5000),
        hardlink("d/again", "d/text"),
        symlink("l", "d/noise"),
        file("last", noise[:5000]),
    ]


def gzip_member(content: bytes) -> bytes:
    """One member (RFC 1952)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def _gzip_members(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """Members that end in the middle of a header, of content, and nowhere at all."""
    tar = encode_tar(entries)
    cuts = [0, 700, 700, 60_000, len(tar)]
    return b"".join(gzip_member(tar[a:b]) for a, b in pairwise(cuts)), tar


def _bgzf(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """Small members, each with its size in an extra field, and an empty last one: as bgzip writes."""
    tar = encode_tar(entries)
    pieces = [tar[start : start + _BGZF_BLOCK] for start in range(0, len(tar), _BGZF_BLOCK)]
    return b"".join(map(_bgzf_member, [*pieces, b""])), tar


def _bgzf_member(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = packer.compress(content) + packer.flush()
    size = 18 + len(data) + 8
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + (size - 1).to_bytes(2, "little")
    return head + data + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")


def _gzip(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    tar = encode_tar(entries)
    return gzip_member(tar), tar


def _plain(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    tar = encode_tar(entries)
    return tar, tar


def _zstd(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    tar = encode_tar(entries)
    return zstandard.ZstdCompressor().compress(tar), tar


def _zstd_frames(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    tar = encode_tar(entries)
    pieces = [tar[start : start + 50_000] for start in range(0, len(tar), 50_000)]
    return b"".join(zstandard.ZstdCompressor().compress(piece) for piece in pieces), tar


def _zstd_chunked(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """Frames, and behind them two skippable ones where zstd:chunked has its table and where it lies."""
    stored, tar = _zstd_frames(entries)
    table = zstandard.ZstdCompressor().compress(b'{"version":1,"entries":[]}')
    return stored + _skippable(table) + _skippable(len(stored).to_bytes(8, "little") + b"GNUlInUx"), tar


def _skippable(content: bytes) -> bytes:
    return _SKIPPABLE + len(content).to_bytes(4, "little") + content


PACKINGS: tuple[Packing, ...] = (
    Packing("layer-plain", media_types.OCI_LAYER, _plain),
    Packing("layer-gzip", media_types.OCI_LAYER_GZIP, _gzip),
    Packing("layer-gzip-members", media_types.OCI_LAYER_GZIP, _gzip_members),
    Packing("layer-gzip-bgzf", media_types.OCI_LAYER_GZIP, _bgzf),
    Packing("layer-zstd", media_types.OCI_LAYER_ZSTD, _zstd),
    Packing("layer-zstd-frames", media_types.OCI_LAYER_ZSTD, _zstd_frames),
    Packing("layer-zstd-chunked", media_types.OCI_LAYER_ZSTD, _zstd_chunked),
    Packing("layer-estargz", media_types.OCI_LAYER_GZIP, lambda entries: encode_estargz(entries, 2)),
)
