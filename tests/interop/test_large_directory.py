"""A directory of 100,000 entries, through every reader that lists it."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.options import ConvertOptions
from tests.images.layout import build_image
from tests.images.tar import directory, encode_tar, file
from tests.interop.conversion import Conversion, convert
from tests.peers.mounts import directory_backend, erofs_mount, nydusd_mount

COUNT = 100_000


@pytest.fixture(scope="module")
def conversion(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    files = (file(f"d/{number:06d}{'x' * (number % 90)}", b"%d" % (number % 7)) for number in range(COUNT))
    image = build_image([encode_tar([directory("d"), *files])], "plain")
    options = ConvertOptions(compressor="none", kernel_mountable=True)
    return convert(image, tmp_path_factory.mktemp("large") / "converted", options)


def check_listing(mounted: Path) -> None:
    """All names are there and no others; a file here and there has its content."""
    names = sorted(path.name for path in (mounted / "d").iterdir())
    assert names == [f"{number:06d}{'x' * (number % 90)}" for number in range(COUNT)]
    for number in range(0, COUNT, 9973):
        assert (mounted / "d" / names[number]).read_bytes() == b"%d" % (number % 7)


@pytest.mark.root
@pytest.mark.interop
def test_the_kernel_and_nydusd_list_it(conversion: Conversion, mountpoint: Path, tmp_path: Path) -> None:
    """Without `nydus-image check`, whose time grows with the square of a directory: over two minutes here."""
    with erofs_mount(conversion.bootstrap, conversion.devices(), mountpoint) as mounted:
        check_listing(mounted)
    backend = directory_backend(conversion.blobs)
    with nydusd_mount(conversion.bootstrap, backend, tmp_path / "nydusd", validate=True) as mounted:
        check_listing(mounted)
