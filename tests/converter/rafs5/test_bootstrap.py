"""Bootstraps of RAFS v5 say what those of v6 say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter.errors import LimitExceededError
from converter.image import convert_image
from converter.options import ConvertOptions
from converter.rafs.bootstrap import encode_bootstrap as encode_bootstrap_v6
from converter.rafs.layout import Compressor, Digester
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.rafs5 import inodes
from converter.rafs5.bootstrap import encode_bootstrap
from converter.tree import FileTree
from tests.converter.rafs.samples import CHUNK_SIZE, TreeBuilder
from tests.images.odd import CASES, REFUSED, odd_image

Digests = dict[tuple[int, int], tuple[bytes, bytes]]  # blob id and digest of a chunk


def encode(builder: TreeBuilder, *, prefetch: tuple[int, ...] = (FileTree.ROOT,)) -> memoryview:
    return encode_bootstrap(
        builder.tree, [builder.blob()] if len(builder.chunks.digests) else [], compressor=Compressor.NONE,
        chunk_size=CHUNK_SIZE, digester=Digester.BLAKE3, prefetch=prefetch,
    )  # fmt: skip


def shown(bootstrap: Bootstrap) -> dict[bytes, tuple[Any, ...]]:
    """Every name by its path, with all that a bootstrap says of it; equal inodes have equal numbers."""
    tree = bootstrap.tree
    digests: Digests = {}
    for row in bootstrap.chunks:
        blob = bootstrap.blobs[row["blob_index"]].blob_id
        digests[int(row["blob_index"]), int(row["index"])] = (blob, bytes(row["digest"]))
    paths, found = {tree.ROOT: b""}, {b"/": facts(bootstrap, tree.ROOT, digests)}
    first: dict[int, int] = {}
    for directory, name, inode in tree.walk():
        path = paths[directory] + b"/" + name
        paths[inode] = path
        found[path] = (first.setdefault(inode, len(first)), *facts(bootstrap, inode, digests))
    return found


def facts(bootstrap: Bootstrap, inode: int, digests: Digests) -> tuple[object, ...]:
    tree = bootstrap.tree
    chunks = range(tree.first_chunk[inode], tree.first_chunk[inode] + tree.chunk_count[inode])
    return (
        tree.mode[inode], tree.uid[inode], tree.gid[inode], tree.mtime_s[inode], tree.mtime_ns[inode],
        tree.size[inode], tree.rdev[inode], tree.symlink_target.get(inode), tree.xattrs.get(inode),
        [digests[tree.chunk_blob[use], tree.chunk_refs[use]] for use in chunks],
    )  # fmt: skip


def without_blob_ids(found: dict[bytes, tuple[Any, ...]]) -> dict[bytes, tuple[Any, ...]]:
    return {path: (*row[:-1], [digest for _, digest in row[-1]]) for path, row in found.items()}


def test_the_odd_image_is_the_same_in_both_versions(tmp_path: Path) -> None:
    image = odd_image([case for case in CASES if case.name not in REFUSED], "plain")
    found = []
    for version in (5, 6):
        options = ConvertOptions(fs_version=version, chunk_size=1 << 16, prefetch=("/",))
        work = tmp_path / str(version)
        work.mkdir()
        converted = convert_image(image.manifest, image.config, image.open_layer, work, options)
        read = read_bootstrap(converted.bootstrap.boot_path.read_bytes())
        assert (read.version, read.prefetch) == (version, (b"/",))
        assert read.name_count == converted.stats.files
        found.append(without_blob_ids(shown(read)))
    assert len(found[0]) > 500
    assert found[0] == found[1]


def test_without_files_there_are_no_blobs(tmp_path: Path) -> None:
    data = encode(TreeBuilder())
    assert len(data) == 8192 + 8 + 128 + 8
    read = read_bootstrap(data)
    assert (read.version, read.name_count, read.blobs, read.prefetch) == (5, 0, (), ())


def test_names_of_one_inode_and_the_prefetch_table() -> None:
    builder = TreeBuilder()
    builder.directory(b"z")
    inner = builder.file(b"z/b", b"content")
    builder.hardlink(b"a", inner)
    builder.symlink(b"link", b"a")
    builder.xattrs(inner, [(b"user.x", b"1"), (b"security.y", bytes(9))])
    read = read_bootstrap(encode(builder, prefetch=(inner,)))
    assert read.prefetch == (b"/a",)
    tree = read.tree
    inode = tree.lookup(tree.ROOT, b"a")
    assert inode is not None
    assert tree.lookup(tree.lookup(tree.ROOT, b"z") or 0, b"b") == inode
    assert tree.xattrs[inode] == ((b"security.y", bytes(9)), (b"user.x", b"1"))


def test_equal_trees_give_equal_bytes_and_v6_others() -> None:
    def made() -> TreeBuilder:
        builder = TreeBuilder()
        builder.file(b"d/f", b"1")
        return builder

    assert encode(made()) == encode(made())
    six = encode_bootstrap_v6(made().tree, [made().blob()], compressor=Compressor.NONE, chunk_size=CHUNK_SIZE)
    assert encode(made()) != six


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = TreeBuilder()
    builder.file(b"f", b"1")
    monkeypatch.setattr(inodes, "MAX_BOOTSTRAP_SIZE", 300)
    with pytest.raises(LimitExceededError, match="too many for RAFS v5"):
        encode(builder)
