"""Reading inverts writing, and garbage gives our errors."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.errors import BootstrapError
from converter.rafs.blobs import BlobInfo
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import Compressor
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.tree import FileTree, device_number
from tests.converter.rafs.samples import Chunks, Metadata, TreeBuilder

CHUNK_SIZE = 4096

Listing = dict[bytes, tuple[object, ...]]


def encode(builder: TreeBuilder) -> memoryview:
    return encode_bootstrap(
        builder.tree, [builder.blob()], compressor=Compressor.NONE, chunk_size=builder.chunk_size
    )


def listing(tree: FileTree) -> Listing:
    """All that a tree says, by path; inodes by the first of their names."""
    paths = {tree.ROOT: b""}
    first_name = {tree.ROOT: b""}
    found: Listing = {b"": describe(tree, tree.ROOT, b"")}
    for directory, name, inode in tree.walk():
        path = paths[directory] + b"/" + name
        paths[inode] = path
        found[path] = describe(tree, inode, first_name.setdefault(inode, path))
    return found


def describe(tree: FileTree, inode: int, first_name: bytes) -> tuple[object, ...]:
    first, count = tree.first_chunk[inode], tree.chunk_count[inode]
    return (
        first_name, tree.mode[inode], tree.uid[inode], tree.gid[inode], tree.mtime_s[inode],
        tree.mtime_ns[inode], tree.rdev[inode], tree.size[inode], tree.symlink_target.get(inode),
        tree.xattrs.get(inode, ()), list(tree.chunk_refs[first : first + count]),
        list(tree.chunk_blob[first : first + count]),
    )  # fmt: skip


def blob_infos(bootstrap: Bootstrap) -> list[BlobInfo]:
    """The blobs of a bootstrap that was read, ready to be written again."""
    infos = []
    for record in bootstrap.blobs:
        chunks = Chunks(bytearray(32 * record.chunk_count))
        for column in (
            chunks.uncompressed_size, chunks.compressed_size,
            chunks.uncompressed_offset, chunks.compressed_offset,
        ):  # fmt: skip
            column.extend(array(column.typecode, [0]) * record.chunk_count)
        for row in bootstrap.chunks[bootstrap.chunks["blob_index"] == record.index]:
            index = int(row["index"])
            chunks.digests[32 * index : 32 * index + 32] = row["digest"].tobytes()
            chunks.uncompressed_size[index] = int(row["uncompressed_size"])
            chunks.compressed_size[index] = int(row["compressed_size"])
            chunks.uncompressed_offset[index] = int(row["uncompressed_offset"])
            chunks.compressed_offset[index] = int(row["compressed_offset"])
        infos.append(BlobInfo.of(record, chunks))
    return infos


def odd_tree() -> TreeBuilder:
    """Everything that a bootstrap can express."""
    builder = TreeBuilder(CHUNK_SIZE)
    builder.directory(b"", 0o751, uid=1, gid=2**32 - 2, mtime_s=-5)
    first = builder.file(b"a", b"content", mtime_s=-1, mtime_ns=999_999_999, uid=7)
    builder.hardlink(b"d/e/b", first)
    builder.file(b"big", bytes(5 * CHUNK_SIZE) + b"tail", mode=0o6755)
    builder.file(b"empty")
    for name in (b"-x", b"!", b"+", b"..a", b".a", b"\xff\xfe", b"z" * 255):
        builder.file(b"names/" + name, name)
    for number in range(300):
        builder.file(b"many/%05d" % number + b"n" * (number % 200))
    for length in (1, 100, 3968, 4031, 4032, 4033, 4095):
        builder.symlink(b"links/%d" % length, b"t" * length, mtime_s=1)
    builder.hardlink(b"links/again", builder.symlink(b"links/first", b"target"))
    char = builder.special(b"dev/char", stat.S_IFCHR | 0o600, device_number(300, 70000))
    builder.hardlink(b"dev/char2", char)
    builder.special(b"dev/block", stat.S_IFBLK | 0o660, device_number(8, 1))
    builder.special(b"dev/fifo", stat.S_IFIFO)
    builder.special(b"dev/socket", stat.S_IFSOCK)
    builder.xattrs(first, [(b"user.a", b""), (b"security.capability", b"\0" * 20)])
    builder.xattrs(builder.directory(b"x"), [(b"user.%d" % n, b"v" * 1000) for n in range(20)])
    builder.xattrs(builder.symlink(b"xl", b"t" * 200), [(b"security.s", b"v" * 3900)])
    acl = [(b"system.posix_acl_access", b"1" * 28), (b"system.posix_acl_default", b"2" * 28)]
    builder.xattrs(builder.directory(b"acl"), [*acl, (b"trusted.t", b"3")])
    return builder


def test_reading_inverts_writing() -> None:
    builder = odd_tree()
    written = encode(builder)
    read = read_bootstrap(written)
    assert listing(read.tree) == listing(builder.tree)
    assert [blob.blob_id for blob in read.blobs] == [b"b" * 64]
    assert len(read.chunks) == len(builder.chunks.uncompressed_size)


def test_writing_inverts_reading() -> None:
    written = encode(odd_tree())
    read = read_bootstrap(written)
    again = encode_bootstrap(
        read.tree, blob_infos(read), compressor=read.compressor, chunk_size=read.chunk_size
    )
    assert bytes(again) == bytes(written)


def test_no_files_at_all() -> None:
    written = encode_bootstrap(FileTree(), [], compressor=Compressor.ZSTD, chunk_size=1 << 20)
    assert len(written) == 8192
    read = read_bootstrap(written)
    assert list(listing(read.tree)) == [b""]
    assert read.blobs == ()
    assert read.compressor is Compressor.ZSTD


names = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)
metadata = st.fixed_dictionaries(
    {
        "uid": st.integers(0, 2**32 - 1),
        "gid": st.integers(0, 2**32 - 1),
        "mtime_s": st.integers(-(2**63), 2**63 - 1),
        "mtime_ns": st.integers(0, 999_999_999),
    }
)


@given(
    files=st.dictionaries(paths, st.tuples(st.binary(max_size=3 * CHUNK_SIZE), metadata), max_size=20),
    links=st.dictionaries(
        paths, st.binary(min_size=1, max_size=4095).filter(lambda t: 0 not in t), max_size=5
    ),
    values=st.lists(st.binary(max_size=5000), max_size=4),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_any_tree_is_read_as_written(
    files: dict[tuple[bytes, ...], tuple[bytes, Metadata]],
    links: dict[tuple[bytes, ...], bytes],
    values: list[bytes],
) -> None:
    builder = TreeBuilder(CHUNK_SIZE)
    taken: set[tuple[bytes, ...]] = set()
    for path, (content, values_of_file) in files.items():
        if not conflicts(path, taken):
            taken.add(path)
            inode = builder.file(b"/".join(path), content, **values_of_file)
            builder.xattrs(inode, [(b"user.%d" % n, value) for n, value in enumerate(values)])
    for path, target in links.items():
        if not conflicts(path, taken):
            taken.add(path)
            builder.symlink(b"/".join(path), target)
    assert listing(read_bootstrap(encode(builder)).tree) == listing(builder.tree)


def conflicts(path: tuple[bytes, ...], taken: set[tuple[bytes, ...]]) -> bool:
    """Whether a path is there, or a file would have to be a directory."""
    return any(path[: len(other)] == other or other[: len(path)] == path for other in taken)


SMALL = TreeBuilder(CHUNK_SIZE)
SMALL.file(b"d/a", bytes(3 * CHUNK_SIZE))
SMALL.hardlink(b"b", SMALL.file(b"c", b"c"))
SMALL.symlink(b"l", b"target")
SMALL.xattrs(SMALL.file(b"x"), [(b"user.a", b"value")])
GOOD = bytes(encode(SMALL))
# Where the bytes are not zero: changes elsewhere mostly hit padding.
USED = np.flatnonzero(np.frombuffer(GOOD, np.uint8)).tolist()


@given(
    st.dictionaries(st.sampled_from(USED) | st.integers(0, len(GOOD) - 1), st.integers(0, 255), max_size=4)
)
@settings(deadline=None, max_examples=400)
def test_changed_bytes_give_our_error_or_a_tree(changes: dict[int, int]) -> None:
    damaged = bytearray(GOOD)
    for at, value in changes.items():
        damaged[at] = value
    try:
        read = read_bootstrap(damaged)
    except BootstrapError:
        return
    assert len(listing(read.tree)) == 7


@given(st.binary(max_size=200), st.integers(1, 6))
@settings(deadline=None)
def test_garbage_gives_our_error(garbage: bytes, blocks: int) -> None:
    with pytest.raises(BootstrapError):
        read_bootstrap(garbage)
    with pytest.raises(BootstrapError):
        read_bootstrap((garbage * (blocks * 4096 // max(1, len(garbage)) + 1))[: blocks * 4096])


@pytest.mark.parametrize("size", range(0, len(GOOD), 4096))
def test_cut_off(size: int) -> None:
    with pytest.raises(BootstrapError):
        read_bootstrap(GOOD[:size])


def put(offset: int, value: int, size: int) -> Callable[[bytearray], None]:
    """A change of one little-endian field."""

    def change(image: bytearray) -> None:
        image[offset : offset + size] = value.to_bytes(size, "little")

    return change


META = int.from_bytes(GOOD[1064:1068], "little") * 4096
ROOT = META + 4096
PREFETCH = 4096 + 256
CHUNK_TABLE = int.from_bytes(GOOD[1152 + 24 : 1152 + 32], "little")
ENTRIES = ROOT + 64  # names are ".", "..", "b", "c", "d", "l", "x"


def inode_of(name: bytes) -> int:
    """Position of an inode in the root."""
    row = [b".", b"..", b"b", b"c", b"d", b"l", b"x"].index(name)
    return META + 32 * int.from_bytes(GOOD[ENTRIES + 12 * row : ENTRIES + 12 * row + 8], "little")


def test_a_symlink_may_count_links_that_a_merge_of_nydus_image_took_apart() -> None:
    image = bytearray(GOOD)
    put(inode_of(b"l") + 44, 2, 4)(image)
    assert listing(read_bootstrap(image).tree) == listing(read_bootstrap(GOOD).tree)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(1024, 0, 4), "superblock"),
        (put(1024 + 14, 129, 2), "superblock"),
        (put(1024 + 16, 6, 8), "more names"),
        (put(1024 + 16, 8, 8), "names less"),
        (put(1024 + 16, 0, 8), "no inode"),
        (put(1024 + 36, 5, 4), "blocks"),
        (put(1024 + 40, 2**31, 4), "behind the end"),
        (put(1024 + 86, 2, 2), "does not go with"),
        (put(1152, 0x0100011B, 4), "flags"),
        (put(1152, 0x0100013D, 4), "flags"),
        (put(1152, 0x010003B5, 4), "tarfs"),
        (put(1152 + 3, 2, 1), "encrypted"),
        (put(1152 + 8, 2**40, 8), "not inside"),
        (put(1152 + 40, 4104 - 4, 8), "prefetch table"),
        (put(1152 + 40, 2**40, 8), "prefetch table"),
        (put(1152 + 48, 6, 4), "prefetch table"),
        (put(PREFETCH, 129, 4), "names the nid 129"),
        (put(1152 + 20, 3 << 20, 4), "no chunk size"),
        (put(1152 + 24, 2**63, 8), "not inside"),
        (put(1152 + 32, 81, 8), "whole rows"),
        (put(1408, ord("c"), 1), "its device the tag"),
        (put(1408 + 64, 1, 4), "numbers that cannot be"),
        (put(4096 + 84, 0x80000001, 4), "not supported: unknown"),
        (put(4096 + 84, 0x40000085, 4), "not supported: BATCH"),
        (put(4096 + 84, 0x40000105, 4), "not supported: ENCRYPTED"),
        (put(4096 + 84, 0x40000009, 4), "another blob"),
        (put(4096 + 84, 0x40000019, 4), "cannot express"),
        (put(4096, ord("/"), 1), "cannot have the id"),
        (put(4096 + 216, 1, 4), "numbers that cannot be"),
        (put(CHUNK_TABLE + 32, 1, 4), "a blob that"),
        (put(CHUNK_TABLE + 36, 2, 4), "row 0"),
        (put(CHUNK_TABLE + 72, 9, 4), "row 0"),
        (put(ENTRIES, 129, 8), "'.' or '..'"),
        (put(ENTRIES + 12, 2**40, 8), "'.' or '..'"),
        (put(ENTRIES + 24, 2**60, 8), "outside the file"),
        (put(ENTRIES + 8, 11, 2), "first name at 11"),
        (put(ENTRIES + 20, 84, 2), "empty name"),
        (put(ENTRIES + 24 + 10, 2, 1), "has the mode|of two types"),
        (put(ENTRIES + 5 * 12 + 10, 1, 1), "contradicts its names"),
        (put(ENTRIES + 7 * 12 + 3, ord("z"), 1), "out of order"),
        (put(ENTRIES + 7 * 12 + 4, ord("/"), 1), "NUL or a slash"),
        (put(ENTRIES + 7 * 12 + 4, 0, 1), "NUL or a slash"),
        (put(ROOT, 9, 2), "first name at 92"),
        (put(ROOT + 44, 4, 4), "contradicts its names"),
        (put(inode_of(b"c") + 44, 1, 4), "contradicts its names"),
        (put(inode_of(b"c") + 44, 3, 4), "contradicts its names"),
        (put(inode_of(b"l") + 44, 0, 4), "contradicts its names"),
        (put(inode_of(b"c") + 8, 4097, 8), "chunk table does not have|overlap|add up"),
        (put(inode_of(b"c") + 8, 2**62, 8), "no room"),
        (put(inode_of(b"c") + 16, 0x21, 4), "chunk format"),
        (put(inode_of(b"c") + 64 + 2, 2, 1), "chunk table does not have"),
        (put(inode_of(b"c") + 64 + 4, 77, 4), "chunk table does not have"),
        (put(inode_of(b"l") + 8, 0, 8), "target of 0 bytes"),
        (put(inode_of(b"l") + 8, 5000, 8), "target of 5000 bytes"),
        (put(inode_of(b"l") + 64, 0, 1), "NUL"),
        (put(inode_of(b"x") + 2, 0xFFFF, 2), "behind the end"),
        (put(inode_of(b"x") + 64 + 12 + 1, 9, 1), "unknown prefix"),
        (put(inode_of(b"x") + 64, 1, 1), "header"),
    ],
)
def test_what_is_refused(change: Callable[[bytearray], None], message: str) -> None:
    read_bootstrap(GOOD)
    damaged = bytearray(GOOD)
    change(damaged)
    with pytest.raises(BootstrapError, match=message):
        read_bootstrap(damaged)


def test_prefetch_table_names_paths() -> None:
    assert read_bootstrap(GOOD).prefetch == (b"/",)
    image = bytearray(GOOD)
    image[1152 + 48] = 16
    nids = [(inode_of(name) - META) // 32 for name in (b"l", b"d", b"l", b"c")]
    image[PREFETCH : PREFETCH + 16] = b"".join(nid.to_bytes(4, "little") for nid in nids)
    assert read_bootstrap(image).prefetch == (
        b"/l",
        b"/d",
        b"/b",
    )  # `b` is the first name of what is also `c`
    image[PREFETCH + 8 : PREFETCH + 16] = bytes(8)
    assert read_bootstrap(image).prefetch == (b"/l", b"/d")
    image[PREFETCH + 12] = 1
    with pytest.raises(BootstrapError, match="behind its end"):
        read_bootstrap(image)


def test_prefetch_table_cannot_ask_for_gigabytes_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.rafs.prefetch_reader.MAX_PATH_BYTES", 5)
    image = bytearray(GOOD)
    image[PREFETCH : PREFETCH + 4] = ((inode_of(b"d") - META) // 32).to_bytes(4, "little")
    image[1152 + 48] = 8
    image[PREFETCH + 4 : PREFETCH + 8] = ((inode_of(b"l") - META) // 32).to_bytes(4, "little")
    read_bootstrap(image)
    image[1152 + 48] = 12
    image[PREFETCH + 8 : PREFETCH + 12] = ((inode_of(b"x") - META) // 32).to_bytes(4, "little")
    with pytest.raises(BootstrapError, match="more than 5 bytes"):
        read_bootstrap(image)


def test_xattrs_need_their_flag() -> None:
    damaged = bytearray(GOOD)
    damaged[1152] &= ~0x20
    with pytest.raises(BootstrapError, match="extended attributes"):
        read_bootstrap(damaged)


@pytest.mark.parametrize("kind", ["xattrs", "symlinks"])
def test_inodes_cannot_ask_for_more_than_the_file(kind: str) -> None:
    """Three hundred inodes that share what lies behind the first, which is as large as it can be."""
    builder = TreeBuilder(CHUNK_SIZE)
    for number in range(300):
        if kind == "symlinks":
            builder.symlink(b"%03d" % number, b"t")
        else:
            builder.special(b"%03d" % number, stat.S_IFIFO)
    builder.xattrs(builder.directory(b"large"), [(b"user.%d" % n, bytes(60_000)) for n in range(4)])
    image = bytearray(encode(builder))
    image += bytes(40 * 4096)
    meta = int.from_bytes(image[1064:1068], "little") * 4096
    for position in range(meta + 4096, len(image) - 64, 32):
        mode = int.from_bytes(image[position + 4 : position + 6], "little")
        if kind == "xattrs" and mode == stat.S_IFIFO:
            image[position + 2 : position + 4] = (0x4000).to_bytes(2, "little")
        if kind == "symlinks" and mode == stat.S_IFLNK | 0o777:
            image[position : position + 2] = b"\x01\0"
            image[position + 8 : position + 16] = (4095).to_bytes(8, "little")
            image[position + 16 : position + 20] = (len(image) // 4096 - 1).to_bytes(4, "little")
    with pytest.raises(BootstrapError, match="so they overlap"):
        read_bootstrap(image)


def test_directories_cannot_be_a_cycle() -> None:
    builder = TreeBuilder(CHUNK_SIZE)
    builder.directory(b"a/b")
    image = bytearray(encode(builder))
    meta = int.from_bytes(image[1064:1068], "little") * 4096
    root = meta + 4096
    a = meta + 32 * int.from_bytes(image[root + 64 + 24 : root + 64 + 32], "little")
    image[a + 64 + 24 : a + 64 + 32] = (128).to_bytes(8, "little")  # a/b is the root again
    with pytest.raises(BootstrapError, match="two names"):
        read_bootstrap(image)


def test_blob_named_twice() -> None:
    builder = TreeBuilder(CHUNK_SIZE)
    builder.file(b"a", b"a")
    builder.file(b"b", b"b", blob=1)
    blobs = [builder.blob(), builder.blob("c" * 64)]
    image = bytearray(
        encode_bootstrap(builder.tree, blobs, compressor=Compressor.NONE, chunk_size=CHUNK_SIZE)
    )
    read_bootstrap(image)
    image[1408 + 128 : 1408 + 128 + 64] = image[4096 + 256 : 4096 + 256 + 64] = b"b" * 64
    with pytest.raises(BootstrapError, match="twice"):
        read_bootstrap(image)
