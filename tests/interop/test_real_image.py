"""A real image, Debian with PyPI packages, converted by us and read by nydusd and the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.options import ConvertOptions
from tests.demo.image import TAG, demo_image
from tests.images.layout import Image, read_image
from tests.interop.containerd import containerd
from tests.interop.conversion import convert
from tests.interop.readers import by_kernel, by_nydusd, check_all
from tests.interop.umoci import unpack
from tests.trees import Tree, assert_same_tree, wrong_link_counts

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image() -> Image:
    layout, _ = demo_image()
    return read_image(layout, TAG)


@pytest.fixture(scope="module")
def truth(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running.unpack(image)


@pytest.mark.interop
def test_nydusd_shows_what_containerd_unpacks(image: Image, truth: Tree, tmp_path: Path) -> None:
    conversion = convert(image, tmp_path / "converted", ConvertOptions())
    check_all(conversion, tmp_path)
    shown = by_nydusd(conversion, tmp_path / "nydusd")
    assert len(shown) > 10_000
    assert_same_tree(truth, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.interop
def test_nydusd_reads_the_layers_of_the_source(image: Image, truth: Tree, tmp_path: Path) -> None:
    """An OCI-reference image: all that it adds is a small part of the layers' size."""
    options = ConvertOptions(oci_ref=True, digester="sha256")
    conversion = convert(image, tmp_path / "converted", options)
    check_all(conversion, tmp_path)
    assert_same_tree(truth, by_nydusd(conversion, tmp_path / "nydusd"))
    made = conversion.image
    added = [blob.descriptor.size for blob in made.blobs] + [blob.chunk_list.size for blob in made.blobs]
    added += [blob.reference.chunk_list.size for blob in made.blobs if blob.reference]
    added += [made.bootstrap.descriptor.size, len(made.config), made.manifest.size]
    assert made.stats.copied == {}
    assert sum(added) <= 0.03 * sum(layer.size for layer in image.manifest.layers)


@pytest.mark.peers
def test_the_kernel_shows_what_containerd_unpacks(image: Image, truth: Tree, tmp_path: Path) -> None:
    options = ConvertOptions(compressor="none", kernel_mountable=True)
    conversion = convert(image, tmp_path / "converted", options)
    assert_same_tree(truth, by_kernel(conversion.bootstrap, conversion.devices(), tmp_path / "mnt"))


@pytest.mark.peers
def test_umoci_is_of_the_same_opinion(image: Image, truth: Tree, tmp_path: Path) -> None:
    assert_same_tree(unpack(image, tmp_path / "umoci"), truth)
