"""Layers compressed in many ways, and a reader that has nothing but the index and the layer."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from converter.blob import BlobReader
from converter.blob.chunk_info_v2 import GzipWindows
from converter.chunk_digest import digest_function
from converter.layer import ConvertedLayer
from converter.oci import Descriptor, Digest, media_types
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from converter.rafs.layout import BlobFeature, Digester
from converter.zran.inflate import inflate_context, stored_range
from converter.zran.layer import reference_layer
from tests.converter.layers import paths

REFERENCE = ConvertOptions(oci_ref=True, digester="sha256")

Compress = Callable[[bytes], bytes]


def gzip(level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> Compress:
    """One member, as zlib writes it: its last block is never empty."""

    def compress(data: bytes) -> bytes:
        stream = zlib.compressobj(level, zlib.DEFLATED, 31, 8, strategy)
        return stream.compress(data) + stream.flush()

    return compress


def flushed(data: bytes, every: int = 100_000) -> bytes:
    """One member with a flush every now and then, and an empty last block: as pigz and Go write."""
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    parts = []
    for start in range(0, len(data), every):
        parts += [stream.compress(data[start : start + every]), stream.flush(zlib.Z_SYNC_FLUSH)]
    return b"".join(parts) + stream.flush()


def members(data: bytes, ends: Sequence[int], compress: Compress) -> bytes:
    """Several members, which end at these offsets and at the end of the data."""
    bounds = [0, *sorted(ends), len(data)]
    return b"".join(compress(data[start:end]) for start, end in pairwise(bounds))


def reference(stored: bytes, spool: Path, options: ConvertOptions = REFERENCE) -> ConvertedLayer:
    """Makes the index of a layer that lies in memory."""
    layer = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(stored), len(stored))
    return reference_layer(io.BytesIO(stored), layer, spool, options, NO_PROGRESS)


def contents(layer: ConvertedLayer, stored: bytes) -> dict[bytes, bytes]:
    """The regular files, read from the stored layer as a client would, each chunk checked."""
    tree = layer.tree
    with layer.blob.path.open("rb") as file:
        table, windows = BlobReader(file).chunk_info()
    assert (windows is not None) == bool(layer.blob.features & BlobFeature.ZRAN)
    digest = digest_function(Digester.SHA256)
    known = []
    for index in range(len(table)):
        size = table.uncompressed_size[index]
        if windows is None:
            start = table.compressed_offset[index]
            chunk = stored[start : start + size]
        else:
            chunk = _inflate(stored, windows, index, size)
        assert digest(chunk) == table.digest(index)
        known.append(chunk)
    found = {}
    for path, inode in paths(tree).items():
        if tree.mode[inode] >> 12 == 0o10:
            first = tree.first_chunk[inode]
            refs = tree.chunk_refs[first : first + tree.chunk_count[inode]]
            found[path] = b"".join(known[ref] for ref in refs)
    return found


def _inflate(stored: bytes, windows: GzipWindows, index: int, size: int) -> bytes:
    context, offset = int(windows.context[index]), int(windows.offset[index])
    start, length = stored_range(windows, context)
    assert start + length <= len(stored)
    return inflate_context(windows, context, stored[start : start + length])[offset : offset + size]
