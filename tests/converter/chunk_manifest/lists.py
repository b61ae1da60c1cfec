"""Chunk lists and roots in one call, which only tests need."""

from __future__ import annotations

from collections.abc import Iterable

from converter.chunk_manifest import ChunkListWriter, Segment
from converter.chunk_manifest.merkle import RootBuilder, leaf_hash
from converter.oci import Digest


def encode_chunk_list(segments: Iterable[Segment], blob: Digest) -> bytes:
    writer = ChunkListWriter()
    for segment in segments:
        writer.add(segment)
    return writer.finish(blob)


def merkle_root(entries: Iterable[bytes]) -> bytes:
    builder = RootBuilder()
    builder.add(leaf_hash(entry) for entry in entries)
    return builder.root()
