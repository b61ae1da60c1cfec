"""Rows with a small image, two nodes and a fast link: the whole chain, with the real programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.p2p.library import Library, open_library, transferred_bytes
from tests.benchmarks.p2p.measure import Wanted, measure
from tests.benchmarks.p2p.results import Mode
from tests.benchmarks.p2p.swarm import Tuning

pytestmark = [pytest.mark.interop, pytest.mark.root]

RATE_BIT_S = 100_000_000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return open_library(tmp_path_factory.mktemp("library"), small=True)


def test_a_second_look_finds_the_library_as_it_is(library: Library) -> None:
    again = open_library(library.storage.parents[1], small=True)
    assert (again.source.digest, again.converted.digest) == (library.source.digest, library.converted.digest)


@pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.LAZY])
def test_the_origin_sends_an_image_once_to_nodes_with_peers(
    mode: Mode, tmp_path: Path, library: Library
) -> None:
    row = measure(Wanted(mode, 2, 1, RATE_BIT_S, Tuning()), library, tmp_path)
    image = library.converted if mode is Mode.LAZY else library.source
    assert row.image_bytes == transferred_bytes(image)
    assert row.origin_bytes == pytest.approx(row.image_bytes, rel=0.001), "the rest is probes of one byte"
    assert row.pulling.requests <= 2 * (1 + len(image.layers))
    assert len(row.seconds) == 2
    assert min(row.received_bytes) > 6 << 20, "each node got the larger blob over its link"
    # 11 MiB at 100 Mbit/s, less what the buckets of the links let pass at once.
    assert mode is Mode.LAZY or min(row.seconds) > 0.8


def test_native_nodes_share_the_link_of_the_origin(tmp_path: Path, library: Library) -> None:
    row = measure(Wanted(Mode.NATIVE, 2, 1, RATE_BIT_S, Tuning()), library, tmp_path)
    assert row.origin_images == pytest.approx(2)
    assert row.pulling.link_bytes > 2 * row.image_bytes
    assert row.slowest_s > 1.6
