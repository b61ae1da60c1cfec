"""Output forms beside the default: each is mounted by nydusd and must look like the default's mount."""

from __future__ import annotations

import os
import random
import socket
import time
from http.client import HTTPResponse
from pathlib import Path

import pytest

from converter.access_pattern import read_access_pattern
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file, hardlink, symlink, whiteout
from tests.interop.blobs import chunks
from tests.interop.conversion import Conversion, convert
from tests.interop.readers import by_nydusd, check_all
from tests.peers.mounts import directory_backend, nydusd_mount
from tests.trees import Tree, assert_same_tree

FORMS = {
    "4K": ConvertOptions(chunk_size=1 << 12),
    "32K-lz4-sha256": ConvertOptions(chunk_size=1 << 15, compressor="lz4_block", digester="sha256"),
    "16M-lz4": ConvertOptions(chunk_size=1 << 24, compressor="lz4_block"),
    "prefetch": ConvertOptions(prefetch=("/big/shrinks", "/nothing", "/big", "/l")),
}
MIB = 1 << 20


def image() -> Image:
    """Two layers with files round the sizes of chunks, some of which shrink and some of which do not."""
    source = random.Random(7)
    noise = source.randbytes(16 * MIB + 4097)
    text = b"".join(b"%d bottles of beer on the wall\n" % number for number in range(400_000))
    sizes = (0, 1, 4095, 4096, 4097, MIB, MIB + 1, 4 * MIB - 1)
    lower = [
        directory("big"),
        file("big/noise", noise),
        file("big/shrinks", text),
        hardlink("big/linked", "big/shrinks"),
        *(file(f"f{size}", noise[:size]) for size in sizes),
        file("gone", b"gone"),
    ]
    upper = [
        whiteout("gone"),
        file("big/again", noise[:MIB]),
        symlink("l", "big/again"),
        file("zeros", bytes(3 * MIB)),
    ]
    return build_image([encode_tar(lower), encode_tar(upper)], "plain")


@pytest.fixture(scope="module")
def default_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    work = tmp_path_factory.mktemp("default")
    return by_nydusd(convert(image(), work / "converted", ConvertOptions()), work / "nydusd")


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_nydusd_shows_the_same_tree(options: ConvertOptions, default_tree: Tree, tmp_path: Path) -> None:
    conversion = convert(image(), tmp_path / "converted", options)
    check_all(conversion, tmp_path)
    assert_same_tree(default_tree, by_nydusd(conversion, tmp_path / "nydusd"))


@pytest.mark.root
@pytest.mark.interop
def test_nydusd_prefetches_what_the_table_lists(tmp_path: Path) -> None:
    conversion = convert(image(), tmp_path / "converted", ConvertOptions(prefetch=("/f4194303",)))
    wanted = cached(conversion, tmp_path / "nydusd", 4 * MIB - 1)
    assert wanted < 8 * MIB, "the whole blob was fetched"


def cached(conversion: Conversion, work: Path, enough: int) -> int:
    """Bytes in nydusd's cache of the first blob some time after the mount, when nothing was read of it."""
    device = conversion.devices()[0]
    total = sum(chunk.uncompressed_size for chunk in chunks(device.read_bytes()))
    assert total > 30 * MIB
    with nydusd_mount(conversion.bootstrap, directory_backend(conversion.blobs), work, prefetch=True):
        deadline = time.monotonic() + 10
        while (found := _allocated(work / "cache" / f"{device.name}.blob.data")) < enough:
            assert time.monotonic() < deadline, f"only {found} bytes were fetched"
            time.sleep(0.05)
        time.sleep(0.5)  # what should not come would come now
        return _allocated(work / "cache" / f"{device.name}.blob.data")


def _allocated(path: Path) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize(
    "options",
    [ConvertOptions(), pytest.param(ConvertOptions(fs_version=5), marks=pytest.mark.full)],
    ids=["v6", "v5"],
)
def test_what_nydusd_records_becomes_a_trace(options: ConvertOptions, tmp_path: Path) -> None:
    conversion = convert(image(), tmp_path / "converted", options)
    backend, work = directory_backend(conversion.blobs), tmp_path / "nydusd"
    read = ["f4097", "big/again", "f1"]
    with nydusd_mount(conversion.bootstrap, backend, work, record=True) as root:
        for name in read:
            (root / name).read_bytes()
            time.sleep(0.01)
        pattern = _ask(work / "api.sock", "/api/v1/metrics/pattern")
    paths = read_access_pattern(pattern, conversion.bootstrap.read_bytes())
    assert paths == tuple(f"/{name}" for name in read)
    again = convert(image(), tmp_path / "again", ConvertOptions(prefetch=paths))
    wanted = tuple(path.encode() for path in paths)
    assert read_bootstrap(again.bootstrap.read_bytes()).prefetch == wanted


def _ask(address: Path, path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.relpath(address))  # an address has room for 107 bytes only
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: nydusd\r\nConnection: close\r\n\r\n".encode())
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.read()
