"""Layer blobs as a whole: against the reference builder's, read back, and damaged."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard

from converter.blob import BlobReader
from converter.blob.layout import ChunkInfoHeader, TocEntry, section_header
from converter.chunk_manifest.chunk_list import SegmentKind
from converter.errors import BlobError
from converter.options import ConvertOptions
from converter.rafs.layout import BlobFeature, Compressor
from tests.converter.layers import contents, convert
from tests.images import tar as made

NOISE = random.Random(5).randbytes(3_000_000)


def example() -> bytes:
    """The tree of the worked example (docs/nydus-image.md §6)."""
    time = 1700000000
    return made.encode_tar(
        [
            made.directory("./", mtime=time),
            made.file("a.txt", b"hello world\n", mtime=time),
            made.directory("dir", mtime=time),
            made.file("dir/b.bin", b"z" * 5000, mtime=time),
            made.symlink("l", "a.txt", mtime=time),
        ]
    )


def large() -> bytes:
    """Chunks enough that the table is compressed, some repeated, some that do not shrink."""
    files = [made.file(f"{n}", NOISE[n * 10 : n * 10 + 9000] * (n % 3 + 1)) for n in range(300)]
    return made.encode_tar([*files, made.file("big", NOISE), made.file("zeros", bytes(2_500_000))])


def test_the_worked_example_comes_out_as_the_reference_builder_made_it(tmp_path: Path) -> None:
    """Format note §6.3. Our bootstrap carries no CRCs, so it and what follows is smaller."""
    blob = convert(example(), tmp_path).blob
    data = blob.path.read_bytes()
    assert data[:31] == b"hello world\n" + bytes.fromhex("28b52ffd6088124d0000107a7a010083d3032c")
    assert (data[31:41], data[31 + 124 : 31 + 156]) == (
        b"image.blob", b"00000000037\x0000000000000\x000005631\0",
    )  # fmt: skip
    assert data[31 + 156 : 31 + 512] == b"0" + bytes(100) + b"ustar  \0" + bytes(247)
    assert data[543:575].hex() == "0000000000b000000000000000b0000000100000007038010c00000000200100"
    assert data[575:639].hex() == (
        "0bb10bb1" "23000070" "00000000" "02000000" "1f02000000000000" "2000000000000000"
        "2000000000000000" "0000000000000000" "0000000000000000" "00000000" "00000000"
    )  # fmt: skip
    assert data[639:4667] == bytes(4028)
    assert data[4667:4671].hex() == "0bb10bb1"
    assert data[4671:5183] == section_header(b"blob.meta", 4128)
    assert (data[5183:5185].hex(), data[5215:5217].hex()) == ("dc5a", "d2eb")
    assert data[5247:5759] == section_header(b"blob.digest", 64)
    boot = zstandard.ZstdDecompressor().decompress(data[5759:])
    assert len(boot) == 20480
    lines = [TocEntry.decode(data[i : i + 128]) for i in range(len(data) - 1152, len(data) - 512, 128)]
    size = lines[4].stored_size
    assert [(e.name, int(e.flags), e.offset, e.stored_size, e.uncompressed_size) for e in lines] == [
        (b"image.blob", 1, 0, 31, 0x3000),
        (b"blob.meta", 1, 543, 32, 32),
        (b"blob.meta.header", 1, 575, 4096, 4096),
        (b"blob.digest", 1, 5183, 64, 64),
        (b"image.boot", 2, 5759, size, 20480),
    ]
    for line, content in zip(
        lines, (data[:543], data[543:575], data[575:4671], data[5183:5247], boot), strict=True
    ):
        assert line.sha256 == hashlib.sha256(content).digest()
    assert data[-512:] == section_header(b"rafs.blob.toc", 640)
    assert len(data) == 5759 + size + 512 + 640 + 512


def test_what_is_said_of_a_blob_is_true(tmp_path: Path) -> None:
    blob = convert(large(), tmp_path).blob
    data = blob.path.read_bytes()
    assert blob.path == tmp_path / blob.digest.hex
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (blob.digest.hex, blob.size)
    assert list(tmp_path.iterdir()) == [blob.path]
    header = ChunkInfoHeader.decode(data[(end := blob.ci_offset + blob.ci_compressed_size) : end + 4096])
    assert header == blob.chunk_info_header()
    assert (blob.compressor, blob.ci_compressor) == (Compressor.ZSTD, Compressor.ZSTD)
    assert blob.ci_compressed_size < blob.ci_uncompressed_size == 16 * len(blob.chunks)
    table = zstandard.ZstdDecompressor().decompress(data[blob.ci_offset : end])
    assert table == blob.chunks.encode()
    meta = blob.blob_meta_file()
    assert meta == table + bytes(-len(table) % 4096) + data[end : end + 4096]
    assert data[blob.compressed_size :][:4] == b"\x28\xb5\x2f\xfd"
    info = blob.info()
    assert info.blob_id == blob.digest.hex
    assert info.features == 0x70000021 == blob.features & ~BlobFeature.INLINED_FS_META


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(),
        ConvertOptions(compressor="none"),
        ConvertOptions(compressor="none", kernel_mountable=True),
        ConvertOptions(chunk_size=4096),
    ],
    ids=["zstd", "none", "kernel", "small"],
)
def test_segments_cover_the_whole_file(options: ConvertOptions, tmp_path: Path) -> None:
    blob = convert(large(), tmp_path, options).blob
    data, position = blob.path.read_bytes(), 0
    segments = list(blob.segments())
    for number, segment in enumerate(segments):
        assert segment.kind is (SegmentKind.CHUNK if number < len(blob.chunks) else SegmentKind.OTHER)
        assert 0 < segment.length <= max(options.chunk_size, 1 << 20)
        piece = data[position : position + segment.length]
        assert segment.sha256 == hashlib.sha256(piece).digest()
        if segment.kind is SegmentKind.CHUNK:
            assert position == blob.chunks.compressed_offset[number]
        position += segment.length
    assert position == len(data)
    lengths = blob.chunk_segment_lengths()
    assert (lengths[:-1].tolist(), len(lengths)) == (
        np.diff(np.array(blob.chunks.compressed_offset)).tolist(), len(blob.chunks),
    )  # fmt: skip


def test_kernel_mountable_blobs_have_every_chunk_where_the_kernel_looks(tmp_path: Path) -> None:
    """Stored offset and uncompressed offset are one, and what is between chunks is zero (§7.2)."""
    blob = convert(large(), tmp_path, ConvertOptions(compressor="none", kernel_mountable=True)).blob
    chunks, data = blob.chunks, blob.path.read_bytes()
    assert chunks.compressed_offset == chunks.uncompressed_offset
    assert chunks.compressed_size == chunks.uncompressed_size
    ends = np.array(chunks.compressed_offset) + np.array(chunks.compressed_size)
    for end in ends.tolist():
        assert not data[end : -(-end // 4096) * 4096].strip(b"\0")
    assert blob.uncompressed_size == blob.ci_offset - 512


def test_a_layer_without_content_has_two_sections(tmp_path: Path) -> None:
    """Format note §6.4."""
    layer = convert(made.encode_tar([made.directory("d"), made.file("empty")]), tmp_path)
    blob, data = layer.blob, layer.blob.path.read_bytes()
    with blob.path.open("rb") as file:
        reader = BlobReader(file)
        assert list(reader.contents) == [b"image.boot"]
        assert len(reader.chunk_table()) == 0
        assert len(reader.bootstrap()) == 8192
    assert blob.compressed_size == blob.ci_offset == blob.uncompressed_size == 0
    assert len(data) == reader.contents[b"image.boot"].stored_size + 512 + 128 + 512
    assert sum(segment.length for segment in blob.segments()) == len(data)
    assert contents(layer) == {b"empty": b""}


def test_sizes_over_eight_gigabytes_fit_into_a_section_header() -> None:
    assert section_header(b"image.blob", 8**11 - 1)[124:136] == b"77777777777\0"
    assert section_header(b"image.blob", 8**11)[124:136] == b"\x80\0\0\0\0\0\0\x02\0\0\0\0"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return convert(example(), tmp_path_factory.mktemp("blob")).blob.path.read_bytes()


def use(data: bytes) -> list[bytes]:
    """All that can be read of a blob."""
    reader = BlobReader(io.BytesIO(data))
    table = reader.chunk_table()
    return [table.encode(), reader.bootstrap(), *(reader.chunk(table, index) for index in range(len(table)))]


def test_a_changed_byte_never_changes_what_is_read(good: bytes) -> None:
    """Each is found or does not matter: a bit of a zstd frame, the digest of all chunks together."""
    digest_of_all_chunks = range(len(good) - 1152 + 24, len(good) - 1152 + 56)
    whole = use(good)
    tolerated = 0
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 0x40
        try:
            assert use(bytes(damaged)) == whole
            tolerated += position not in digest_of_all_chunks
        except BlobError:
            continue
    assert tolerated < 10


def test_short_files_are_refused(good: bytes) -> None:
    for length in (0, 1, 511, 512, 600, 1151, 5000, len(good) - 1):
        with pytest.raises(BlobError):
            use(good[:length])
        with pytest.raises(BlobError):
            use(good[len(good) - length :] if length < 1152 else good[1:])


def test_a_chunk_that_announces_too_much_is_not_unpacked(good: bytes, tmp_path: Path) -> None:
    """The chunk info says how long a chunk may be, whatever its frame says."""
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    blob = convert(made.encode_tar([made.file("a", NOISE[:4096] + bytes(60_000))]), tmp_path).blob
    data = blob.path.read_bytes()
    reader = BlobReader(io.BytesIO(bomb[:4096] + data[4096:]))
    table = reader.chunk_table()
    with pytest.raises(BlobError, match="its frame says 1073741824"):
        reader.chunk(table, 0)
