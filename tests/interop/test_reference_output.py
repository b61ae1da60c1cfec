"""The converter's reader accepts all that nydus-image writes, and finds in it what was put in."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from converter.blob import BlobReader
from converter.blob.reader import BlobKind
from converter.rafs.layout import Compressor, Digester
from converter.rafs.reader import Bootstrap, read_bootstrap
from tests.interop.read_back import by_reader
from tests.peers.programs import find_program, run_program
from tests.trees import Tree, assert_same_tree, snapshot

pytestmark = [pytest.mark.interop, pytest.mark.root]

MIB = 1 << 20
_COMPRESSORS = {"none": Compressor.NONE, "lz4_block": Compressor.LZ4_BLOCK, "zstd": Compressor.ZSTD}
_DIGESTERS = {"blake3": Digester.BLAKE3, "sha256": Digester.SHA256}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one of everything."""
    root = tmp_path_factory.mktemp("source") / "root"
    root.mkdir(mode=0o711)
    noise = random.Random(4).randbytes(MIB + 5)
    (root / "big").write_bytes(noise + b"text" * MIB)
    (root / "copy").write_bytes(noise + b"text" * MIB)
    (root / "one-chunk").write_bytes(noise[:MIB])
    (root / "empty").touch()
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "linked").write_bytes(b"linked")
    (root / "again").hardlink_to(root / "d" / "linked")
    (root / "d" / "setuid").write_bytes(b"s")
    (root / "d" / "setuid").chmod(0o4755)
    os.chown(root / "d" / "setuid", 1000, 1001)
    (root / "link").symlink_to("d/linked")
    (root / "long").symlink_to("t" * 4090)
    (root / "many").mkdir()
    for number in range(300):
        (root / "many" / f"{number:03}-{'n' * (number % 200)}").write_bytes(b"%d" % number)
    for name in (b"!", b"-x", b"\xff\xfe", b"..a"):
        (root / os.fsdecode(b"many/" + name)).touch()
    os.mkfifo(root / "fifo")
    os.mknod(root / "char", 0o020600, os.makedev(300, 70000))
    os.mknod(root / "block", 0o060660, os.makedev(8, 1))
    os.setxattr(root / "one-chunk", "user.small", b"value")
    os.setxattr(root / "one-chunk", "user.empty", b"")
    os.setxattr(root / "d", "trusted.large", b"v" * 3000)
    for path in [root, *sorted(root.rglob("*"))]:
        os.utime(path, (0, 1_600_000_000 + len(path.name)), follow_symlinks=False)
    return root


@pytest.fixture(scope="module")
def expected(source: Path) -> Tree:
    return snapshot(source)


@pytest.fixture(scope="module")
def tar(source: Path) -> Path:
    """The directory as a tar, and beside it as tar.gz."""
    path = source.parent / "layer.tar"
    options = ["--format=pax", "--pax-option=delete=atime,delete=ctime", "--xattrs", "--xattrs-include=*"]
    subprocess.run(["tar", *options, "-C", source, "-cf", path, "."], check=True)
    path.with_suffix(".tar.gz").write_bytes(gzip.compress(path.read_bytes(), 6, mtime=0))
    return path


def create(work: Path, source: Path, *options: str, patterns: str = "") -> Bootstrap:
    """Runs `nydus-image create` into `work/boot` and `work/blobs`."""
    (work / "blobs").mkdir()
    outputs: list[str | Path] = ["--bootstrap", work / "boot", "--blob-dir", work / "blobs"]
    subprocess.run(
        [find_program("nydus-image"), "create", "--log-level", "error", *outputs, *options, source],
        check=True,
        input=patterns.encode(),
    )
    return read_bootstrap((work / "boot").read_bytes())


def pack(blob: Path, tar: Path, *options: str) -> BlobReader:
    """Runs `nydus-image create` as the reference converter does for a layer; everything is in the blob."""
    run_program(
        "nydus-image", "create", "--log-level", "error", "--blob", blob, "--blob-inline-meta",
        "--whiteout-spec", "none", *options, tar,
    )  # fmt: skip
    return BlobReader(blob.open("rb"))


def without_root_time(tree: Tree) -> Tree:
    """nydus-image forgets the time of the root."""
    return {**tree, b".": replace(tree[b"."], mtime_s=None)}


@pytest.mark.parametrize(
    ("version", "compressor", "digester", "more"),
    [
        (6, "zstd", "blake3", ""),
        (6, "none", "sha256", "--chunk-size=0x1000"),
        (6, "lz4_block", "blake3", "--chunk-size=0x10000"),
        (6, "lz4_block", "sha256", "--chunk-size=0x1000000"),
        (6, "zstd", "blake3", "--features=blob-toc"),
        (5, "zstd", "blake3", ""),
        (5, "none", "blake3", "--chunk-size=0x1000"),
        (5, "lz4_block", "sha256", "--aligned-chunk"),
    ],
)
def test_directories(
    source: Path, expected: Tree, version: int, compressor: str, digester: str, more: str, tmp_path: Path
) -> None:
    options = [f"--fs-version={version}", f"--compressor={compressor}", f"--digester={digester}"]
    read = create(tmp_path, source, *options, *more.split())
    assert (read.version, read.compressor, read.digester) == (
        version, _COMPRESSORS[compressor], _DIGESTERS[digester],
    )  # fmt: skip
    assert_same_tree(without_root_time(expected), by_reader(read, tmp_path / "blobs"))
    if version == 6:
        _check_blob(tmp_path / "blobs", read)


def _check_blob(directory: Path, read: Bootstrap) -> None:
    """Holds the chunk info inside the only blob against the bootstrap's chunk table."""
    blob = read.blobs[0]
    with (directory / blob.blob_id.decode()).open("rb") as file:
        reader = BlobReader(file, compressor=read.compressor, digester=read.digester)
        table = reader.chunk_table()
        assert len(table) == blob.chunk_count == len(read.chunks)
        for row in read.chunks:
            index = int(row["index"])
            assert table.compressed_offset[index] == row["compressed_offset"]
            assert table.uncompressed_offset[index] == row["uncompressed_offset"]
            assert len(reader.chunk(table, index)) == row["uncompressed_size"]
        assert (len(table.digests) > 0) == (reader.kind is BlobKind.CONTENTS)


def test_owners_may_be_left_out(source: Path, tmp_path: Path) -> None:
    """With --repeatable nydus-image drops what differs from machine to machine."""
    read = create(tmp_path, source, "--repeatable")
    assert not any(read.tree.uid)
    assert not any(read.tree.gid)


@pytest.mark.parametrize("version", [6, 5])
def test_prefetch_tables(source: Path, version: int, tmp_path: Path) -> None:
    options = [f"--fs-version={version}", "--prefetch-policy=fs"]
    read = create(tmp_path, source, *options, patterns="/many\n/d/linked\n/nothing\n/big\n/d\n/empty\n")
    # The table has inodes: of `d/linked`, `again` is the first name.
    assert set(read.prefetch) == {b"/many", b"/again", b"/big", b"/d"}


@pytest.mark.parametrize("version", [6, 5])
def test_tars(tar: Path, expected: Tree, version: int, tmp_path: Path) -> None:
    read = create(tmp_path, tar, "--type=tar-rafs", f"--fs-version={version}")
    assert_same_tree(expected, by_reader(read, tmp_path / "blobs"))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--type=tar-rafs", "--features=blob-toc"], BlobKind.CONTENTS),
        (["--type=tar-rafs", "--features=blob-toc", "--compressor=lz4_block"], BlobKind.CONTENTS),
        (["--type=tar-rafs"], BlobKind.HEADERS),
        (["--type=tar-rafs", "--fs-version=5"], BlobKind.HEADERS),
    ],
)
def test_layers(tar: Path, expected: Tree, options: Sequence[str], kind: BlobKind, tmp_path: Path) -> None:
    reader = pack(tmp_path / "layer", tar, *options)
    assert reader.kind is kind
    read = read_bootstrap(reader.bootstrap())
    (tmp_path / read.blobs[0].blob_id.decode()).symlink_to(tmp_path / "layer")
    assert_same_tree(expected, by_reader(read, tmp_path))
    if read.version == 6:
        _check_blob(tmp_path, read)


@pytest.mark.parametrize("more", [[], ["--features=blob-toc"]])
def test_indexes_of_gzip_layers(tar: Path, more: list[str], tmp_path: Path) -> None:
    layer = tar.with_suffix(".tar.gz")
    reader = pack(tmp_path / "index", layer, "--type=targz-ref", *more)
    read = read_bootstrap(reader.bootstrap())
    assert read.digester is Digester.SHA256
    table, windows = reader.chunk_info()
    assert windows is not None
    assert len(windows.contexts) > 1
    plain = tar.read_bytes()
    for row in read.chunks:
        index = int(row["index"])
        start = int(windows.contexts["out_offset"][windows.context[index]]) + int(windows.offset[index])
        chunk = plain[start : start + table.uncompressed_size[index]]
        assert hashlib.sha256(chunk).digest() == row["digest"].tobytes()
    assert windows.dictionary(0) == b""
    second = int(windows.contexts["out_offset"][1])
    assert plain[:second].endswith(windows.dictionary(1))


def test_merged_layers(tmp_path: Path) -> None:
    """Whiteouts, a layer without content, a name of a hardlink that is taken away."""
    layers = []
    for number, files in enumerate([{"a": b"a", "d/x": b"x", "d/y": b"y"}, {}, {".wh.a": b"", "d/z": b"z"}]):
        root = tmp_path / f"root{number}"
        (root / "d").mkdir(parents=True)
        for name, content in files.items():
            (root / name).write_bytes(content)
        if number == 0:
            (root / "b").hardlink_to(root / "a")
        tar = tmp_path / f"{number}.tar"
        subprocess.run(["tar", "--format=ustar", "-C", root, "-cf", tar, "."], check=True)
        reader = pack(tmp_path / f"{number}.blob", tar, "--type=tar-rafs", "--features=blob-toc")
        digest = hashlib.sha256((tmp_path / f"{number}.blob").read_bytes()).hexdigest()
        (tmp_path / f"{number}.blob").rename(tmp_path / digest)
        (tmp_path / f"boots{number}").mkdir()
        layers.append(tmp_path / f"boots{number}" / digest)
        layers[-1].write_bytes(reader.bootstrap())
    run_program("nydus-image", "merge", "--log-level", "error", "--bootstrap", tmp_path / "boot", *layers)
    read = read_bootstrap((tmp_path / "boot").read_bytes())
    found = by_reader(read, tmp_path)
    assert {path: node.links for path, node in found.items()} == {
        b".": 3, b"b": 1, b"d": 2, b"d/x": 1, b"d/y": 1, b"d/z": 1,
    }  # fmt: skip
    assert len(read.blobs) == 2


@pytest.mark.parametrize("version", [6, 5])
def test_chunk_dictionaries(source: Path, version: int, tmp_path: Path) -> None:
    older, newer, root = tmp_path / "older", tmp_path / "newer", tmp_path / "root"
    for directory in (older, newer, root):
        directory.mkdir()
    create(older, source, f"--fs-version={version}")
    content = (source / "big").read_bytes()
    (root / "mixed").write_bytes(content[:MIB] + b"new" * MIB)
    (root / "same").write_bytes(content)
    options = [f"--fs-version={version}", f"--chunk-dict=bootstrap={older / 'boot'}"]
    read = create(newer, root, *options)
    assert len(read.blobs) == 2
    for blob in (older / "blobs").iterdir():
        blob.rename(newer / "blobs" / blob.name)
    assert_same_tree(without_root_time(snapshot(root)), by_reader(read, newer / "blobs"))
