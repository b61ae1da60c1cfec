"""A bootstrap of the reference builder byte for byte, and what the writer does and refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from converter.errors import LimitExceededError
from converter.rafs.blobs import BlobInfo
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import BlobFeature, Compressor
from converter.rafs.reader import read_bootstrap
from tests.converter.rafs.samples import CHUNK_SIZE, TreeBuilder

MTIME = 1700000000
HALF_SECOND = 500_000_000
BLOB_ID = "95705215" + "0" * 52 + "093e"


def worked_example() -> bytes:
    """a.txt, dir/b.bin, l -> a.txt; compressor none, blob features ALIGNED and CAP_TAR_TOC."""
    builder = TreeBuilder()
    builder.directory(b"")
    builder.file(b"a.txt", b"hello world\n", mtime_s=MTIME, mtime_ns=HALF_SECOND)
    builder.directory(b"dir", mtime_s=MTIME)
    builder.file(b"dir/b.bin", b"z" * 5000, mtime_s=MTIME, mtime_ns=HALF_SECOND)
    builder.symlink(b"l", b"a.txt", mtime_s=MTIME)
    return bytes(
        encode_bootstrap(
            builder.tree, [builder.blob(BLOB_ID)], compressor=Compressor.NONE, chunk_size=CHUNK_SIZE
        )
    )


# Offset and bytes, as nydus-image made them (nydus 34e6071e). Ours differ in two things: the root is always
# prefetched (as in images of the reference converter), and the chunk records have no CRC, so neither its flag
# (0x10) nor its value.
EXPECTED = {
    0x0400: "e2e1f5e0 00000000 00000040 0c 00 8000  0500000000000000",
    0x0418: "00" * 12 + "03000000 02000000" + "00" * 36,
    0x0450: "0c000000 0000 0100 0b00",
    0x0480: "15000001 00000000  0010000000000000 00010000 00001000",
    0x0498: "0040000000000000 a000000000000000",
    0x04A8: "0011000000000000 04000000",
    0x0580: BLOB_ID.encode().hex() + "03000000 80000000",
    0x1000: BLOB_ID.encode().hex() + "00000000 00001000 02000000 00000000",
    0x1050: "00000000 01000040 b423000000000000 0030000000000000 00000000 00000000",
    0x1070: "9413000000000000 2000000000000000 2000000000000000",
    0x1100: "80000000 00000000",
    0x2000: "00" * 0x1000,
    0x3000: "0500 0000 ed41 0000 4800000000000000 03000000 01000000",
    0x3020: "0000000000000000 00000000 03000000" + "00" * 16,
    0x3040: "8000000000000000 3c00 02 00 8000000000000000 3d00 02 00 8500000000000000 3f00 01 00",
    0x3064: "8b00000000000000 4400 02 00 8800000000000000 4700 07 00" + b"...a.txtdirl".hex(),
    0x30A0: "0900 0000 a481 0000 0c00000000000000 28000000 02000000",
    0x30C0: "00f1536500000000 0065cd1d 01000000",
    0x30E0: "0000 01 00 00000000",
    0x3100: "0500 0000 ffa1 0000 0500000000000000",
    0x3114: "04000000",
    0x3140: b"a.txt".hex(),
    0x3160: "0500 0000 ed41 0000 2c00000000000000",
    0x3174: "03000000",
    0x318C: "02000000",
    0x31A0: "8b00000000000000 2400 02 00 8000000000000000 2500 02 00 8f00000000000000 2700 01 00",
    0x31C4: b"...b.bin".hex(),
    0x31E0: "0900 0000 a481 0000 8813000000000000 28000000 05000000",
    0x3220: "0100 01 00 01000000",
    0x4000: "d2eb",
    0x401E: "e5c6 00000000 00000000 88130000 88130000",
    0x4030: "0c00000000000000 0010000000000000 0000000000000000 01000000 00000000",
    0x4050: "dc5a",
    0x406E: "3355 00000000 00000000 0c000000 0c000000",
}


@pytest.mark.parametrize("offset", EXPECTED, ids=hex)
def test_worked_example(offset: int) -> None:
    expected = bytes.fromhex(EXPECTED[offset])
    found = worked_example()[offset : offset + len(expected)]
    assert found.hex(" ") == expected.hex(" ")


def test_worked_example_has_nothing_else() -> None:
    image = bytearray(worked_example())
    assert len(image) == 0x5000
    for offset, text in EXPECTED.items():
        size = len(bytes.fromhex(text))
        image[offset : offset + size] = bytes(size)
    # What is left: the middles of the digests, the modification times and link counts of other inodes.
    left = {at for at, byte in enumerate(image) if byte}
    digests = set(range(0x4002, 0x401E)) | set(range(0x4052, 0x406E))
    rest = {at for inode in (0x3100, 0x3160, 0x31E0) for at in range(inode + 0x20, inode + 0x30)}
    assert left <= digests | rest | set(range(0x3110, 0x3114)) | set(range(0x3170, 0x3174))


def encode(builder: TreeBuilder, *blobs: BlobInfo) -> memoryview:
    return encode_bootstrap(
        builder.tree, blobs or [builder.blob()], compressor=Compressor.ZSTD, chunk_size=builder.chunk_size
    )


def test_order_of_adding_does_not_matter() -> None:
    files = {b"d/%d/%d" % (n % 7, n): b"content %d" % n for n in range(100)}
    links = {b"l/%d" % n: b"t" * (n * 100 + 1) for n in range(20)}

    def build(reverse: bool) -> bytes:
        builder = TreeBuilder()
        # Chunks are numbered in the order of the tar, so that has to be the same.
        inodes = {path: builder.file(b"tmp/" + path, content) for path, content in files.items()}
        builder.tree.unlink(builder.tree.ROOT, b"tmp")
        for path in sorted(files, reverse=reverse):
            builder.hardlink(path, inodes[path])
        for path in sorted(links, reverse=reverse):
            builder.xattrs(builder.symlink(path, links[path]), [(b"security.b", b"2"), (b"security.a", b"1")])
        return bytes(encode(builder))

    assert build(False) == build(True)


def test_features_and_flags() -> None:
    builder = TreeBuilder()
    builder.file(b"a", b"a")
    extended = 1152
    plain = encode(builder)
    assert plain[extended : extended + 4] == (0x01000094).to_bytes(4, "little")
    inlined = encode(builder, builder.blob(features=BlobFeature.INLINED_CHUNK_DIGEST))
    assert inlined[extended : extended + 4] == (0x01000194).to_bytes(4, "little")
    builder.xattrs(builder.directory(b"d"), [(b"user.a", b"1")])
    assert encode(builder)[extended : extended + 4] == (0x010000B4).to_bytes(4, "little")


def test_no_blobs_is_the_smallest_bootstrap() -> None:
    builder = TreeBuilder()
    builder.directory(b"d")
    image = bytes(encode_bootstrap(builder.tree, [], compressor=Compressor.ZSTD, chunk_size=CHUNK_SIZE))
    assert len(image) == 8192
    assert image[1024 + 36 : 1024 + 44] == bytes(8)  # blocks and meta_blkaddr
    assert image[1152:1208] == bytes.fromhex(
        "94010001 00000000 0010000000000000 00000000 00001000 0020000000000000 0000000000000000"
        "0000000000000000 00000000 00000000"
    )


def test_blobs_come_in_the_order_of_their_use() -> None:
    builder = TreeBuilder()
    for name, blob in ((b"c", 0), (b"b", 2), (b"a", 1)):
        builder.file(name, name, blob=blob)
    blobs = [builder.blob(digit * 64) for digit in "0123"]
    read = read_bootstrap(encode(builder, *blobs))
    assert [record.blob_id[:1] for record in read.blobs] == [b"1", b"2", b"0"]
    tree = read.tree
    blobs_of = {name: tree.chunk_blob[tree.first_chunk[inode]] for _, name, inode in tree.walk()}
    assert blobs_of == {b"a": 0, b"b": 1, b"c": 2}


def test_a_file_with_chunks_in_two_blobs_is_not_one_large_chunk() -> None:
    """Its second chunk lies where the first blob would go on, but in the other blob."""
    builder = TreeBuilder()
    builder.file(b"a", bytes(3 << 20))
    blobs = [builder.blob("a" * 64), builder.blob("b" * 64)]
    chunk_formats = []
    for blob in (0, 1):
        builder.tree.chunk_blob[1] = blob
        image = encode(builder, *blobs)
        meta = int.from_bytes(image[1064:1068], "little") * 4096
        entry = meta + 4096 + 64 + 2 * 12  # behind "." and ".." of the root
        at = meta + 32 * int.from_bytes(image[entry : entry + 8], "little")
        chunk_formats.append(int.from_bytes(image[at + 16 : at + 20], "little"))
        tree = read_bootstrap(image).tree
        first = tree.first_chunk[tree.children(tree.ROOT)[b"a"]]
        assert list(tree.chunk_blob[first : first + 3]) == [0, blob, 0]
        assert list(tree.chunk_refs[first : first + 3]) == [0, 1, 2]
    assert [value & 0x1F for value in chunk_formats] == [22 - 12, 20 - 12]


def test_whiteouts_are_files_in_the_bootstrap_of_a_layer() -> None:
    builder = TreeBuilder()
    builder.file(b"d/a", b"a")
    builder.whiteout(b"d/gone")
    builder.whiteout(b"e/gone")
    builder.opaque(b"d")
    tree = read_bootstrap(encode(builder)).tree
    assert [name for _, name, _ in tree.walk()] == [
        b"d",
        b"e",
        b".wh..wh..opq",
        b".wh.gone",
        b"a",
        b".wh.gone",
    ]
    assert set(builder.tree.children(builder.tree.ROOT)) == {b"d", b"e"}, "the layer's own tree has changed"
    directory = builder.tree.lookup(builder.tree.ROOT, b"d")
    assert directory is not None
    assert set(builder.tree.children(directory)) == {b"a"}


def test_unnamed_inodes_are_left_out() -> None:
    builder = TreeBuilder()
    builder.file(b"a", b"replaced")
    builder.xattrs(builder.file(b"a", b"content"), [(b"user.a", b"1")])
    builder.xattrs(builder.file(b"b", b"b"), [(b"user.b", b"2")])
    builder.tree.unlink(builder.tree.ROOT, b"b")
    read = read_bootstrap(encode(builder))
    assert read.name_count == 1
    assert len(read.chunks) == 1
    assert list(read.tree.xattrs.values()) == [((b"user.a", b"1"),)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda b: b.file(b"n" * 256), "has 256 bytes"),
        (lambda b: b.symlink(b"l", b"t" * 4096), "has 4096 bytes"),
        (lambda b: b.symlink(b"l", b""), "has 0 bytes"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"user." + b"n" * 251, b"")]), "too long"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"user.a", bytes(65536))]), "too long"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"user.%d" % n, bytes(65535)) for n in range(5)]), "too many"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"system.nfs4_acl", b"1")]), "cannot hold"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"user.", b"1")]), "cannot hold"),
        (lambda b: b.xattrs(b.file(b"a"), [(b"system.posix_acl_access2", b"1")]), "cannot hold"),
    ],
)
def test_what_does_not_fit(build: Callable[[TreeBuilder], object], message: str) -> None:
    builder = TreeBuilder()
    build(builder)
    with pytest.raises(LimitExceededError, match=message):
        encode_bootstrap(builder.tree, [], compressor=Compressor.ZSTD, chunk_size=CHUNK_SIZE)


def test_too_many_blobs() -> None:
    builder = TreeBuilder()
    for number in range(255):
        builder.file(b"%d" % number, b"%d" % number, blob=number)
    blobs = [builder.blob(f"{number:064x}") for number in range(255)]
    with pytest.raises(LimitExceededError, match="255 data blobs"):
        encode(builder, *blobs)


def test_too_much_data() -> None:
    builder = TreeBuilder()
    builder.file(b"a", b"a")
    with pytest.raises(LimitExceededError, match="16 TiB"):
        encode(builder, replace(builder.blob(), uncompressed_size=1 << 44))


def test_contradictions_of_tree_and_blobs() -> None:
    builder = TreeBuilder()
    inode = builder.file(b"a", b"a")
    builder.tree.chunk_blob[0] = 1
    with pytest.raises(ValueError, match="not in the table of its blob"):
        encode(builder)
    builder.tree.chunk_blob[0] = 0
    builder.tree.chunk_refs[0] = 1
    with pytest.raises(ValueError, match="not in the table of its blob"):
        encode(builder)
    builder.tree.chunk_count[inode] = 2
    with pytest.raises(ValueError, match="of 1 bytes has 2 chunks"):
        encode(builder)
