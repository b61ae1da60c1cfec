"""Reads RAFS v5 bootstraps, trusting nothing (§9).

What is accepted is what nydus-image writes, but for what its own reader refuses too: of a hardlink in a tar
to a file with extended attributes it writes a record that all following ones are shifted against.
"""

from __future__ import annotations

import stat
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.errors import BootstrapError
from converter.rafs.chunk_table_reader import check_chunks
from converter.rafs.contents import Bootstrap
from converter.rafs.layout import CHUNK_RECORD, SuperFlag
from converter.rafs.listing import Int64s
from converter.rafs.prefetch_reader import name_inodes
from converter.rafs5.head_reader import read_head
from converter.rafs5.layout import ROOT_INO, ROOT_NAME
from converter.rafs5.records_reader import Records, read_records
from converter.rafs5.structure import check_digests, find_parents, number_inodes
from converter.tree import FileTree


def read_bootstrap_v5(view: memoryview) -> Bootstrap:
    """Reads a whole bootstrap of RAFS v5.

    Args:
        view: the file, at least as long as a superblock, as bytes.

    Raises:
        BootstrapError: it breaks the format, or uses a part of it that is not supported.
    """
    head = read_head(view)
    records = read_records(view, head.positions)
    if records.xattrs and not head.super_block.flags & SuperFlag.HAS_XATTR:
        raise BootstrapError("there are extended attributes, but the superblock says there are none")
    check_chunks(records.chunks, head.blobs, head.super_block.chunk_size, alignment=1)
    _check_files(records, head.super_block.chunk_size)
    parents = find_parents(records.inodes)
    numbers = number_inodes(records, head.super_block.inodes)
    check_digests(records, head.digester)
    tree = _make_tree(records, parents, numbers)
    for ino in head.prefetch:
        if not ROOT_INO <= ino <= len(numbers):
            raise BootstrapError(f"the prefetch table names the inode {ino}, which is not there")
    return Bootstrap(
        version=5,
        name_count=len(numbers) - 1,
        tree=tree,
        blobs=head.blobs,
        chunks=_distinct_chunks(records.chunks),
        compressor=head.compressor,
        digester=head.digester,
        chunk_size=head.super_block.chunk_size,
        prefetch=name_inodes(tree, (int(numbers[ino - ROOT_INO]) for ino in head.prefetch)),
        flags=head.super_block.flags,
    )


def _check_files(records: Records, chunk_size: int) -> None:
    """Checks that the chunks of each regular file add up to its size."""
    sizes = np.where(records.inodes["mode"] >> 12 == stat.S_IFREG >> 12, records.inodes["size"], 0)
    counts = records.chunk_counts
    if (sizes > (counts * chunk_size).astype(np.uint64)).any():
        raise BootstrapError("a file has fewer chunks than its size asks for")
    sizes = sizes.astype(np.int64)
    if (counts != -(-sizes // chunk_size)).any():
        raise BootstrapError("a file has more chunks than its size asks for")
    file = np.repeat(np.arange(len(counts)), counts)
    start = (np.arange(len(file)) - (np.cumsum(counts) - counts)[file]) * chunk_size
    if (records.chunks["uncompressed_size"] != np.minimum(sizes[file] - start, chunk_size)).any():
        raise BootstrapError("the chunks of a file do not add up to its size")
    if (records.chunks["file_offset"] != start.astype(np.uint64)).any():
        raise BootstrapError("a chunk stands elsewhere in its file than in the list of chunks")


def _make_tree(records: Records, parents: Int64s, numbers: Int64s) -> FileTree:
    inodes = records.inodes
    own = np.flatnonzero(inodes["ino"].astype(np.int64) - ROOT_INO == np.arange(len(inodes)))
    children = _read_names(records, parents, numbers, own)
    rows = inodes[own]
    kinds = rows["mode"] >> 12
    device = (kinds == stat.S_IFCHR >> 12) | (kinds == stat.S_IFBLK >> 12)
    tree = FileTree.from_columns(
        {
            "mode": rows["mode"],
            "uid": rows["uid"],
            "gid": rows["gid"],
            "mtime_s": rows["mtime"],
            "mtime_ns": rows["mtime_nsec"],
            "size": np.where(kinds == stat.S_IFDIR >> 12, 0, rows["size"]),
            "rdev": np.where(device, rows["rdev"], 0),
        },
        children,
    )
    own_row = dict(zip(own.tolist(), range(len(own)), strict=True))
    tree.symlink_target = {own_row[row]: value for row, value in records.targets.items() if row in own_row}
    tree.xattrs = {own_row[row]: value for row, value in records.xattrs.items() if row in own_row}
    counts = records.chunk_counts[own]
    # The other names of an inode have records of its chunks, too.
    is_own = np.repeat(
        inodes["ino"].astype(np.int64) - ROOT_INO == np.arange(len(inodes)), records.chunk_counts
    )
    _fill(tree.first_chunk, (np.cumsum(counts) - counts).astype(np.uint32))
    _fill(tree.chunk_count, counts.astype(np.uint32))
    _fill(tree.chunk_blob, records.chunks["blob_index"][is_own].astype(np.uint16))
    _fill(tree.chunk_refs, records.chunks["index"][is_own])
    return tree


def _read_names(
    records: Records, parents: Int64s, numbers: Int64s, own: Int64s
) -> dict[int, dict[bytes, int]]:
    """The names of each directory, by its number; checks names, their order, and the counts of links."""
    inodes, names = records.inodes, records.names
    kinds = inodes["mode"] >> 12
    number_list = numbers.tolist()
    children: dict[int, dict[bytes, int]] = {
        number_list[row]: {} for row in np.flatnonzero(kinds == stat.S_IFDIR >> 12).tolist()
    }
    if names[0] != ROOT_NAME:
        raise BootstrapError(f"the root has the name {names[0]!r}")
    last: tuple[int, bytes] = (-1, b"")
    for row, (parent, name) in enumerate(zip(parents.tolist()[1:], names[1:], strict=True), 1):
        if b"\0" in name or b"/" in name or name in (b".", b".."):
            raise BootstrapError(f"a directory has the name {name[:80]!r}")
        if last[0] == parent and name <= last[1]:
            raise BootstrapError(f"the name {name[:80]!r} is not in order")
        last = (parent, name)
        children[number_list[parent]][name] = number_list[row]
    links = np.bincount(numbers, minlength=len(own))
    in_directory = parents[1:][kinds[1:] == stat.S_IFDIR >> 12]
    links[numbers[kinds == stat.S_IFDIR >> 12]] = 2
    np.add.at(links, numbers[in_directory], 1)
    if (inodes["nlink"][own] != links).any():
        raise BootstrapError("an inode has another number of links than of names")
    return children


def _distinct_chunks(chunks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each chunk once: all records of a chunk agree but for where it stands in a file."""
    keys = chunks["blob_index"].astype(np.int64) << 32 | chunks["index"]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    distinct = chunks[first]
    same = chunks.copy()
    same["file_offset"] = 0
    if (distinct_bytes := _as_rows(same[first]))[which].tobytes() != _as_rows(same).tobytes():
        raise BootstrapError(f"two records of one of {len(distinct_bytes)} chunks do not agree")
    return distinct


def _as_rows(chunks: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(chunks).view(np.uint8).reshape(len(chunks), CHUNK_RECORD.itemsize)


def _fill(column: array[int], values: npt.NDArray[Any]) -> None:
    del column[:]
    column.frombytes(np.ascontiguousarray(values).tobytes())
