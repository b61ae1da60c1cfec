"""The reader of RAFS v5, on bootstraps that the tests write; those of nydus-image are in tests/interop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import BootstrapError
from converter.rafs.layout import Compressor, Digester
from converter.rafs.reader import rafs_version, read_bootstrap
from converter.rafs5.layout import INODE
from tests.converter.rafs.samples import TreeBuilder
from tests.converter.rafs.test_reader import listing, odd_tree, put
from tests.converter.rafs5.samples import encode_v5

CHUNK_SIZE = 4096


def test_reading_gives_what_was_written() -> None:
    builder = odd_tree()
    read = read_bootstrap(encode_v5(builder, (1, 3)))
    assert listing(read.tree) == listing(builder.tree)
    assert (read.version, read.compressor, read.digester) == (5, Compressor.NONE, Digester.BLAKE3)
    assert [(blob.blob_id, blob.chunk_count) for blob in read.blobs] == [
        (b"b" * 64, len(builder.chunks.uncompressed_size))
    ]
    assert read.chunks["index"].tolist() == list(range(len(builder.chunks.uncompressed_size)))
    assert read.prefetch == (b"/", b"/acl")
    assert len(read.tree.chunk_refs) == len(builder.tree.chunk_refs)


def test_an_image_without_files() -> None:
    data = encode_v5(TreeBuilder())
    assert rafs_version(data) == 5
    read = read_bootstrap(data)
    assert (list(listing(read.tree)), read.blobs, read.name_count) == ([b""], (), 0)


SMALL = TreeBuilder(CHUNK_SIZE)
SMALL.file(b"d/a", bytes(3 * CHUNK_SIZE))
SMALL.hardlink(b"d/h", SMALL.file(b"c", b"c"))
SMALL.symlink(b"l", b"target")
SMALL.xattrs(SMALL.file(b"x"), [(b"user.a", b"value"), (b"user.b", b"")])
GOOD = encode_v5(SMALL, (2,))
# Rows: 1 /, 2 c, 3 d, 4 l, 5 x, 6 d/a, 7 d/h.
POSITIONS = [8 * int(at) for at in np.frombuffer(GOOD[8192 : 8192 + 28], "<u4")]
BLOB_TABLE = 8192 + 32 + 8
USED = np.flatnonzero(np.frombuffer(GOOD, np.uint8)).tolist()


def field(row: int, name: str, value: int) -> Callable[[bytearray], None]:
    """A change of one field of an inode."""
    dtype, offset = INODE.fields[name][:2]  # type: ignore[index]  # it has fields
    return put(POSITIONS[row - 1] + offset, value, dtype.itemsize)


def sized(row: int, size: int) -> Callable[[bytearray], None]:
    """A change of the size of a file, and of what follows from it."""

    def change(image: bytearray) -> None:
        field(row, "size", size)(image)
        field(row, "blocks", (size + 511) // 512)(image)

    return change


def chunk(row: int, offset: int, value: int, size: int) -> Callable[[bytearray], None]:
    """A change in the first chunk record of an inode with a short name."""
    return put(POSITIONS[row - 1] + 128 + 8 + offset, value, size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(0, 1, 4), "RAFS v6 cannot have"),
        (put(8, 4096, 4), "superblock"),
        (put(100, 1, 1), "superblock"),
        (put(12, 4097, 4), "no chunk size"),
        (put(16, 0xB7, 8), "flags"),
        (put(16, 0x20000B5, 8), "encrypted"),
        (put(16, 0x15, 8), "extended attributes"),
        (put(24, 6, 8), "5 inodes below the root, the superblock says 6"),
        (put(32, 8196, 8), "inode table"),
        (put(32, 2**63, 8), "inode table"),
        (put(40, 4096, 8), "prefetch table"),
        (put(48, 2**40, 8), "blob table"),
        (put(56, 0, 4), "no room"),
        (put(56, 2**32 - 1, 4), "no room"),
        (put(56, 6, 4), "in two directories, or in none"),
        (put(60, 2**32 - 1, 4), "prefetch table"),
        (put(64, 71, 4), "does not end with an id"),
        (put(68, 2, 4), "descriptions"),
        (put(72, 4, 8), "extended blob table"),
        (put(8192, 1, 4), "inode outside"),
        (put(8192, 2**31, 4), "inode outside"),
        (put(8192 + 4, POSITIONS[0] // 8, 4), "overlap"),
        (put(8192 + 32, 99, 4), "inode 99"),
        (put(8192 + 32, 0, 4), "inode 0"),
        (put(BLOB_TABLE + 8, ord("/"), 1), "cannot have the id"),
        (put(BLOB_TABLE + 8, 0, 1), "descriptions"),
        (put(BLOB_TABLE + 72, 1, 4), "row"),
        (put(BLOB_TABLE + 76, 0x80, 4), "BATCH"),
        (put(BLOB_TABLE + 76, 0x40000004, 4), "features of RAFS v6"),
        (put(BLOB_TABLE + 80, 1, 8), "row"),
        (put(BLOB_TABLE + 80, 2**63, 8), "numbers that cannot be"),
        (put(BLOB_TABLE + 100, 1, 1), "numbers that cannot be"),
        (field(1, "mode", 0o100644), "overlap"),
        (field(1, "child_index", 3), "in two directories"),
        (field(1, "child_count", 3), "in two directories"),
        (field(3, "child_index", 3), "in two directories"),
        (field(3, "nlink", 3), "number of links"),
        (field(2, "nlink", 1), "agree on its nlink"),
        (field(2, "parent", 3), "another directory"),
        (field(2, "ino", 99), "inode table does not have"),
        (field(2, "ino", 3), "another number itself"),
        (field(7, "ino", 6), "agree on"),
        (field(7, "mode", 0o100600), "agree on its mode"),
        (field(7, "mtime", 5), "agree on its mtime"),
        (sized(6, 0), "more chunks"),
        (sized(6, 2 * CHUNK_SIZE + 1), "add up"),
        (sized(6, 2**62), "fewer chunks"),
        (field(6, "blocks", 9), "blocks"),
        (field(6, "flags", 8), "fields"),
        (field(6, "flags", 4), "bytes of extended attributes"),
        (field(6, "project", 1), "fields"),
        (field(6, "child_count", 2**32 - 1), "overlap"),
        (field(6, "name_size", 0), "fields"),
        (field(6, "name_size", 60000), "fields"),
        (field(6, "symlink_size", 1), "fields"),
        (field(6, "mtime_nsec", 10**9), "fields"),
        (field(4, "size", 7), "fields"),
        (field(4, "mode", 0o110777), "fields"),
        (field(4, "digest", 0), "inode 1 does not match its digest"),
        (field(3, "digest", 0), "inode 1 does not match its digest"),
        (put(POSITIONS[3] + 128 + 8, ord("T"), 1), "inode 4 does not match its digest"),
        (chunk(6, 0, 1, 1), "does not match its digest"),
        (chunk(6, 32, 1, 4), "blob that the blob table"),
        (chunk(6, 36, 2, 4), "row 1"),
        (chunk(6, 44, 4097, 4), "row 1"),
        (chunk(6, 64, 1, 8), "elsewhere in its file"),
        (chunk(6, 72, 9, 4), "row 1"),
        (chunk(6, 72, 1, 4), "do not agree"),
        (put(POSITIONS[1] + 128, ord("e"), 1), "not in order"),
        (put(POSITIONS[1] + 128, ord("/"), 1), "has the name"),
        (put(POSITIONS[1] + 128, 0, 1), "has the name"),
        (put(POSITIONS[1] + 128, ord("."), 1), "has the name"),
        (put(POSITIONS[0] + 128, ord("r"), 1), "root has the name"),
        (put(POSITIONS[4] + 136, 2**60, 8), "extended attributes"),
        (put(POSITIONS[4] + 144, 99, 4), "extended attribute has no name"),
        (put(POSITIONS[4] + 144, 2, 4), "extended attribute has no name"),
        (put(POSITIONS[4] + 144 + 4 + 12 + 4 + 5, ord("a"), 1), "twice"),
    ],
)
def test_what_is_refused(change: Callable[[bytearray], None], message: str) -> None:
    read_bootstrap(GOOD)
    damaged = bytearray(GOOD)
    change(damaged)
    with pytest.raises(BootstrapError, match=message):
        read_bootstrap(damaged)


@given(
    st.dictionaries(st.sampled_from(USED) | st.integers(8, len(GOOD) - 1), st.integers(0, 255), max_size=4)
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


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_garbage_behind_the_magic_gives_our_error(garbage: bytes) -> None:
    with pytest.raises(BootstrapError):
        read_bootstrap(GOOD[:12] + garbage.ljust(8192, b"\0"))


@pytest.mark.parametrize("size", range(0, len(GOOD), 24))
def test_cut_off(size: int) -> None:
    with pytest.raises(BootstrapError):
        read_bootstrap(GOOD[:size])
