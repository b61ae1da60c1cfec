"""OCI-reference images: nydusd reads the source's own layers, and nydus-image's index of one beside ours."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from converter.blob import BlobReader
from converter.oci import Digest
from converter.options import ConvertOptions
from converter.rafs.layout import SuperFlag
from converter.rafs.reader import read_bootstrap
from registry_hook.cli import main
from tests.converter.zran.layers import Compress, flushed, gzip, members
from tests.images.layout import Compression, Image, build_image, stored_image
from tests.images.odd import odd_image
from tests.images.tar import directory, encode_tar, file
from tests.interop.conversion import convert
from tests.interop.readers import by_nydusd, check_all
from tests.interop.truth import converted_cases
from tests.peers.mounts import nydusd_mount, registry_backend
from tests.peers.programs import run_program
from tests.peers.registries import Registry, RegistryKind
from tests.peers.tools import skopeo_copy
from tests.trees import Tree, assert_same_tree, snapshot

pytestmark = [pytest.mark.root, pytest.mark.interop]

REFERENCE = ConvertOptions(oci_ref=True, digester="sha256")
# zstd has to be converted, and so has a layer with a sparse file.
COMPRESSIONS: tuple[Compression, ...] = ("gzip", "zstd", "plain", "stored-gzip")


def test_nydusd_shows_the_truth(odd_tree: Tree, tmp_path: Path) -> None:
    conversion = convert(odd_image(converted_cases(), COMPRESSIONS), tmp_path / "converted", REFERENCE)
    assert_same_tree(odd_tree, by_nydusd(conversion, tmp_path / "nydusd"))
    assert any(blob.reference for blob in conversion.image.blobs)
    assert conversion.image.stats.copied


def files() -> list[bytes]:
    source = random.Random(3)
    words = [source.randbytes(5).hex().encode() for _ in range(4000)]
    texts = [b" ".join(source.choices(words, k=size)) for size in (10, 60_000, 300_000, 500, 200_000)]
    # The ends of these fall together with the ends of gzip members.
    return [*texts, source.randbytes(512 * 100), bytes(512 * 3000), texts[1][: 512 * 1000]]


def layer(contents: list[bytes]) -> tuple[bytes, list[int]]:
    """A tar, and where the headers and the contents in it begin."""
    entries = [directory("d"), *(file(f"d/{number}", content) for number, content in enumerate(contents))]
    bounds, offset = [512], 512
    for content in contents:
        bounds += [offset + 512]
        offset += 512 + len(content) + -len(content) % 512
        bounds += [offset]
    return encode_tar(entries), bounds


def image(compress: Compress, *, by_members: bool) -> Image:
    tar, bounds = layer(files())
    stored = members(tar, bounds, compress) if by_members else compress(tar)
    return stored_image([(stored, Digest.of(tar))])


@pytest.fixture(scope="module")
def plain_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """What the plain conversion of the layer shows."""
    work = tmp_path_factory.mktemp("plain")
    source = build_image([layer(files())[0]])
    return by_nydusd(convert(source, work / "converted", ConvertOptions()), work / "nydusd")


@pytest.mark.parametrize(
    ("compress", "by_members"),
    [(gzip(9), False), (flushed, False), (flushed, True), (bytes, False)],
    ids=["gzip", "pigz", "members", "plain"],
)
def test_layers_of_all_makes(compress: Compress, by_members: bool, plain_tree: Tree, tmp_path: Path) -> None:
    conversion = convert(image(compress, by_members=by_members), tmp_path / "reference", REFERENCE)
    assert conversion.image.stats.copied == {}
    check_all(conversion, tmp_path)
    assert_same_tree(plain_tree, by_nydusd(conversion, tmp_path / "nydusd"))


@pytest.mark.peers
def test_nydusd_reads_them_from_a_registry(
    start_registry: Callable[..., Registry], plain_tree: Tree, tmp_path: Path
) -> None:
    """The ordinary image is pushed; its conversion adds little, and nydusd finds both by digest."""
    source = image(gzip(), by_members=False)
    source.write_layout(tmp_path / "layout", "v1")
    registry = start_registry(RegistryKind.V3)
    place = f"docker://{registry.host}/demo/app"
    skopeo_copy(f"oci:{tmp_path}/layout:v1", f"{place}:v1")
    done = CliRunner().invoke(
        main, ["convert", f"{place}:v1", f"{place}:v1-nydus", "--oci-ref", "--plain-http"]
    )
    assert done.exit_code == 0, done.output
    bootstrap = convert(source, tmp_path / "converted", REFERENCE).bootstrap
    backend = registry_backend(registry.host, "demo/app")
    with nydusd_mount(bootstrap, backend, tmp_path / "nydusd", validate=True) as mountpoint:
        shown = snapshot(mountpoint)
    assert {path: node.sha256 for path, node in shown.items()} == {
        path: node.sha256 for path, node in plain_tree.items()
    }


def test_nydus_image_has_the_same_chunks_in_a_larger_index(tmp_path: Path) -> None:
    source = image(gzip(), by_members=False)
    ours = convert(source, tmp_path / "ours", REFERENCE).image.blobs[0]
    (stored,) = (source.blobs[descriptor.digest] for descriptor in source.manifest.layers)
    (tmp_path / "layer.tar.gz").write_bytes(stored)
    run_program(
        "nydus-image", "create", "--type", "targz-ref", "--fs-version", "6", "--whiteout-spec", "none",
        "--blob-inline-meta", "--features", "blob-toc", "--blob", tmp_path / "theirs",
        tmp_path / "layer.tar.gz",
    )  # fmt: skip
    with (tmp_path / "theirs").open("rb") as theirs, ours.path.open("rb") as file:
        their_blob, our_blob = BlobReader(theirs), BlobReader(file)
        their_table, their_windows = their_blob.chunk_info()
        our_table, our_windows = our_blob.chunk_info()
        their_tree, our_tree = (read_bootstrap(blob.bootstrap()) for blob in (their_blob, our_blob))
    assert our_table.digests == their_table.digests
    assert our_table.uncompressed_offset == their_table.uncompressed_offset
    assert our_windows
    assert their_windows
    assert len(our_windows.dictionaries) < len(their_windows.dictionaries)
    assert their_tree.blobs[0].blob_id == our_tree.blobs[0].blob_id
    assert their_tree.blobs[0].features == our_tree.blobs[0].features
    assert their_tree.blobs[0].compressed_size == our_tree.blobs[0].compressed_size
    assert their_tree.flags | SuperFlag.NOT_ENCRYPTED == our_tree.flags
