"""Indexes of layers: what a client reads with them, in which layers they are possible, and their size."""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.blob import BlobReader
from converter.chunk_manifest.chunk_list import SegmentKind
from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.errors import InvalidLayerError
from converter.oci import Descriptor, Digest, media_types
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from converter.rafs.reader import read_bootstrap
from converter.zran.errors import NotReferenceableError
from converter.zran.layer import reference_layer
from tests.converter.zran.layers import REFERENCE, Compress, contents, flushed, gzip, members, reference
from tests.images import tar as made

_NOISE = random.Random(7)
_WORDS = [_NOISE.randbytes(_NOISE.randrange(2, 12)).hex().encode() for _ in range(3000)]


def text(size: int, seed: int) -> bytes:
    """Words that shrink about as programs do, and refer to one another far back."""
    choose = random.Random(seed)
    words = b" ".join(choose.choices(_WORDS, k=size // 8))
    return (words * 3)[:size]


FILES = {
    b"empty": b"",
    b"small": b"x",
    b"text": text(1_300_000, 1),
    b"noise": _NOISE.randbytes(1_200_000),
    b"noise again": b"",
    b"zeros": bytes(3 << 20),
    **{b"d/%d" % n: text(n * 37, n) for n in range(100)},
    b"more text": text(1 << 20, 2),
}
FILES[b"noise again"] = FILES[b"noise"]
TAR = made.encode_tar([made.file(name, content) for name, content in FILES.items()])


@pytest.mark.parametrize(
    ("compress", "chunk_size"),
    [
        (gzip(1), 1 << 20),
        (gzip(9), 1 << 16),
        (gzip(0), 1 << 20),
        (gzip(6, zlib.Z_FIXED), 1 << 20),
        (flushed, 1 << 16),
        (bytes, 1 << 16),
    ],
    ids=["1", "9", "stored", "fixed", "flushed", "plain tar"],
)
def test_every_file_is_read_from_the_layer(compress: Compress, chunk_size: int, tmp_path: Path) -> None:
    stored = compress(TAR)
    options = ConvertOptions(oci_ref=True, digester="sha256", chunk_size=chunk_size)
    layer = reference(stored, tmp_path, options)
    assert contents(layer, stored) == FILES
    assert layer.diff_id == Digest.of(TAR)


def test_the_index_is_small(tmp_path: Path) -> None:
    stored = gzip()(made.encode_tar([made.file(b"text", text(12_000_000, 3))]))
    layer = reference(stored, tmp_path)
    assert layer.blob.size < len(stored) * 0.04
    with layer.blob.path.open("rb") as file:
        _, windows = BlobReader(file).chunk_info()
    assert windows is not None
    assert len(windows.contexts) > 4
    assert windows.contexts["out_size"].max() < 4 << 20


def test_the_index_depends_on_the_layer_alone(tmp_path: Path) -> None:
    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(random.Random(self.tell()).randrange(1, 5000))

    stored = gzip()(TAR)
    descriptor = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(stored), len(stored))
    dripped = reference_layer(cast(BinaryIO, Dripping(stored)), descriptor, tmp_path, REFERENCE, NO_PROGRESS)
    assert dripped.blob.digest == reference(stored, tmp_path).blob.digest


def test_the_blob_tells_where_the_data_are(tmp_path: Path) -> None:
    stored = gzip()(TAR)
    layer = reference(stored, tmp_path)
    with layer.blob.path.open("rb") as file:
        record = read_bootstrap(BlobReader(file).bootstrap()).blobs[0]
    assert record.blob_id == Digest.of(stored).hex.encode()
    assert record.compressed_size == len(stored)
    info = layer.blob.info()
    assert (info.blob_id, info.meta_size) == (Digest.of(stored).hex, layer.blob.size)
    assert info.meta_digest.hex() == layer.blob.digest.hex


def test_the_chunk_list_covers_every_byte_of_the_layer(tmp_path: Path) -> None:
    stored = gzip()(TAR)
    reference_of = reference(stored, tmp_path).blob.reference
    assert reference_of is not None
    summary = ChunkListReader(io.BytesIO(reference_of.chunk_list)).read_all()
    assert (summary.blob, summary.blob_size, summary.chunk_count) == (Digest.of(stored), len(stored), 0)
    offset = 0
    for records in ChunkListReader(io.BytesIO(reference_of.chunk_list)):
        for length, kind, sha256 in records:
            assert kind is SegmentKind.OTHER
            assert bytes.fromhex(Digest.of(stored[offset : offset + length]).hex) == sha256
            offset += length
    assert offset == len(stored)


def member_bounds() -> list[int]:
    """Where the headers of entries begin: eStargz begins members there."""
    bounds, offset = [], 0
    for content in FILES.values():
        bounds.append(offset)
        offset += 512 + len(content) + -len(content) % 512
    return bounds[1:]


def test_members_that_begin_with_files(tmp_path: Path) -> None:
    stored = members(TAR, member_bounds(), flushed)
    assert contents(reference(stored, tmp_path), stored) == FILES


def test_a_file_that_ends_with_its_member(tmp_path: Path) -> None:
    """eStargz has such files; its members end by an empty block, which nydusd must not be led to."""
    content = text(512 * 300, 5)
    tar = made.encode_tar([made.file(b"a", content), made.file(b"b", b"b")])
    stored = members(tar, [512 + len(content)], flushed)
    assert contents(reference(stored, tmp_path), stored)[b"a"] == content
    with pytest.raises(NotReferenceableError, match="end of a gzip member"):
        reference(members(tar, [512 + len(content)], gzip()), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(member_bounds()) | st.integers(0, len(TAR)), max_size=4),
    st.sampled_from([gzip(1), flushed]),
)
def test_members_anywhere(tmp_path: Path, ends: list[int], compress: Compress) -> None:
    """Either each file can be read, or it is said that the layer has to be converted."""
    stored = members(TAR, ends, compress)
    try:
        layer = reference(stored, tmp_path)
    except NotReferenceableError:
        return
    assert contents(layer, stored) == FILES


def test_a_layer_without_content_refers_to_nothing(tmp_path: Path) -> None:
    layer = reference(gzip()(made.encode_tar([made.directory(b"d"), made.file(b"empty", b"")])), tmp_path)
    assert layer.blob.reference is None
    assert contents(layer, b"") == {b"empty": b""}


def test_a_layer_of_empty_blocks_takes_no_time(tmp_path: Path) -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    start = stream.compress(TAR) + stream.flush(zlib.Z_SYNC_FLUSH)
    stored = start + b"\0\0\0\xff\xff" * 5_000_000 + stream.flush()
    with pytest.raises(NotReferenceableError, match="hardly any content"):
        reference(stored, tmp_path)


def test_layers_that_have_to_be_converted(tmp_path: Path) -> None:
    with pytest.raises(NotReferenceableError, match="zstd"):
        reference(zstandard.compress(TAR), tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_layers(tmp_path: Path) -> None:
    stored = gzip()(TAR)
    with pytest.raises(InvalidLayerError, match="truncated"):
        reference(stored[:-9], tmp_path)
    with pytest.raises(InvalidLayerError, match="garbage"):
        reference(stored + b"garbage", tmp_path)
    for at in (500_000, len(stored) - 6):  # in the data, and in the checksum
        with pytest.raises(InvalidLayerError):
            reference(stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :], tmp_path)
    other = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(stored), len(stored) + 1)
    with pytest.raises(InvalidLayerError, match="descriptor"):
        reference_layer(io.BytesIO(stored), other, tmp_path, REFERENCE, NO_PROGRESS)
    assert not list(tmp_path.iterdir())


def test_zeros_behind_the_layer_are_padding(tmp_path: Path) -> None:
    stored = gzip()(TAR) + bytes(1000)
    assert contents(reference(stored, tmp_path), stored) == FILES
