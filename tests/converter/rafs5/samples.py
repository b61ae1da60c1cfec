"""A small writer of RAFS v5 bootstraps, so that the reader's tests need no other part of the converter."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from converter.rafs.layout import CHUNK_RECORD, SuperFlag
from converter.rafs5.layout import INODE, SUPERBLOCK_SIZE, ExtendedBlob, InodeFlag, SuperBlock
from converter.tree import FileTree
from tests.converter.rafs.samples import TreeBuilder

Row = tuple[int, bytes, int, int]  # directory's row, name, inode, row


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def list_rows(tree: FileTree) -> Iterator[Row]:
    """All names in the order of their numbers: a directory's names together, then its subdirectories."""
    rows: list[Row] = [(-1, b"/", tree.ROOT, 0)]
    row_of = {tree.ROOT: 0}
    for directory, name, inode in tree.walk():
        rows.append((row_of[directory], name, inode, len(rows)))
        row_of[inode] = row_of.get(inode, len(rows) - 1)
    return iter(rows)


def encode_v5(builder: TreeBuilder, prefetch: tuple[int, ...] = ()) -> bytes:
    """A bootstrap as nydus-image writes it.

    Args:
        builder: the tree, and the chunks of its only blob.
        prefetch: numbers of inodes.
    """
    tree, rows = builder.tree, list(list_rows(builder.tree))
    first_row: dict[int, int] = {}
    for _, _, inode, row in rows:
        first_row.setdefault(inode, row)
    records = np.zeros(len(rows), INODE)
    tails = [b""] * len(rows)
    for parent, name, inode, row in reversed(rows):
        children = [child for directory, _, _, child in rows if directory == row]
        chunks = chunk_records(builder, inode)
        xattrs = b"".join(
            (len(key) + 1 + len(value)).to_bytes(4, "little") + key + b"\0" + value
            for key, value in tree.xattrs.get(inode, ())
        )
        kind, target = stat.S_IFMT(tree.mode[inode]), tree.symlink_target.get(inode, b"")
        content = chunks["digest"].tobytes() if kind == stat.S_IFREG else target
        if kind == stat.S_IFDIR:
            content = b"".join(records["digest"][child].tobytes() for child in children)
        size = 4096 if kind == stat.S_IFDIR else tree.size[inode]
        names = sum(inode == other for _, _, other, _ in rows)
        below = sum(stat.S_ISDIR(tree.mode[rows[child][2]]) for child in children)
        records[row] = (
            blake3(content).digest(), first_row[rows[parent][2]] + 1 if row else 0, first_row[inode] + 1,
            tree.uid[inode], tree.gid[inode], 0, tree.mode[inode], size,
            (size + len(pad(xattrs)) + 511) // 512,
            bool(target) * InodeFlag.SYMLINK | bool(xattrs) * InodeFlag.XATTR,
            2 + below if kind == stat.S_IFDIR else names,
            children[0] + 1 if children else 0, len(children) if kind == stat.S_IFDIR else len(chunks),
            len(name), len(target), tree.rdev[inode], tree.mtime_ns[inode], tree.mtime_s[inode], 0,
        )  # fmt: skip
        tails[row] = pad(name) + pad(target) + chunks.tobytes()
        if xattrs:
            tails[row] = (
                pad(name) + pad(target) + len(xattrs).to_bytes(8, "little") + pad(xattrs) + chunks.tobytes()
            )
    return _join(builder, records, tails, prefetch, len(set(first_row)) - 1)


def chunk_records(builder: TreeBuilder, inode: int) -> npt.NDArray[Any]:
    tree, chunks = builder.tree, builder.chunks
    records = np.zeros(tree.chunk_count[inode], CHUNK_RECORD)
    for place in range(len(records)):
        index = tree.chunk_refs[tree.first_chunk[inode] + place]
        stored, size = chunks.compressed_size[index], chunks.uncompressed_size[index]
        records[place] = (
            bytes(chunks.digests[32 * index : 32 * index + 32]), 0, stored < size, stored, size,
            chunks.compressed_offset[index], chunks.uncompressed_offset[index], place * builder.chunk_size,
            index, 0,
        )  # fmt: skip
    return records


def _join(
    builder: TreeBuilder,
    records: npt.NDArray[Any],
    tails: list[bytes],
    prefetch: tuple[int, ...],
    inodes: int,
) -> bytes:
    chunks = builder.chunks
    count = len(chunks.uncompressed_size)
    prefetch_table = pad(b"".join(ino.to_bytes(4, "little") for ino in prefetch))
    blob_table = pad(bytes(8) + b"b" * 64) if count else b""
    extended = ExtendedBlob(count, 0x40000000, chunks.end, chunks.compressed_end).encode() if count else b""
    prefetch_at = SUPERBLOCK_SIZE + len(pad(bytes(4 * len(tails))))
    blobs_at = prefetch_at + len(prefetch_table)
    at = blobs_at + len(blob_table) + len(extended)
    table = b""
    body = b""
    for record, tail in zip(records, tails, strict=True):
        table += (at // 8).to_bytes(4, "little")
        body += record.tobytes() + tail
        at += INODE.itemsize + len(tail)
    flags = (
        SuperFlag.COMPRESS_NONE | SuperFlag.DIGEST_BLAKE3 | SuperFlag.EXPLICIT_UID_GID | SuperFlag.HAS_XATTR
    )
    head = SuperBlock(
        chunk_size=builder.chunk_size, flags=flags, inodes=inodes, inode_table_offset=SUPERBLOCK_SIZE,
        prefetch_table_offset=prefetch_at, blob_table_offset=blobs_at, inode_table_entries=len(tails),
        prefetch_table_entries=len(prefetch), blob_table_size=len(blob_table), extended_entries=bool(count),
        extended_offset=blobs_at + len(blob_table),
    )  # fmt: skip
    return head.encode() + pad(table) + prefetch_table + blob_table + extended + body
