"""Any tree, written as a tar in any dialect and converted in any form, is shown again by our reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.options import ConvertOptions
from tests.images.layout import Compression, build_image
from tests.properties.conversions import convert_and_read, digests
from tests.properties.dialects import ALL, POOR, RICH, fits_ustar, shuffled
from tests.properties.effort import at_length, every_time
from tests.properties.forms import options, with_threads
from tests.properties.specimens import Specimen, expected, fractions, limited, specimens
from tests.trees import assert_same_tree

_COMPRESSIONS = st.sampled_from(["plain", "gzip", "stored-gzip", "zstd"])
_SEEDS = st.integers(0, 1 << 16)


def _writable(specimen: Specimen, dialect: str) -> bool:
    return not dialect.startswith("ustar") or fits_ustar(specimen)


@given(specimens(), st.sampled_from(list(ALL)), _COMPRESSIONS, options(), _SEEDS)
def a_tree_comes_back(
    specimen: Specimen, dialect: str, compression: Compression, form: ConvertOptions, seed: int
) -> None:
    if dialect in POOR:
        specimen = limited(specimen)
    if not _writable(specimen, dialect):
        dialect = "gnu"
    tar = ALL[dialect](shuffled(specimen, seed))
    tree, times = convert_and_read([tar], form, compression)
    assert_same_tree(expected(specimen), tree)
    assert times == fractions(specimen)


@given(specimens(), options(references=False), _SEEDS)
def equal_trees_give_equal_blobs(specimen: Specimen, form: ConvertOptions, seed: int) -> None:
    """Whatever the dialect, and where files are sparse: the layer is the same, if its order is."""
    specimen = shuffled(limited(specimen), seed)
    written = {name: write(specimen) for name, write in ALL.items() if _writable(specimen, name)}
    found = {name: digests(build_image([tar], "plain"), form) for name, tar in written.items()}
    assert all(one == found["pax"] for one in found.values()), found


@given(st.lists(specimens(max_items=8), min_size=1, max_size=3), options(), _SEEDS)
def equal_input_gives_equal_bytes(layers: list[Specimen], form: ConvertOptions, seed: int) -> None:
    """Whatever the number of threads, the compression of the source, and how its bytes arrive."""
    tars = [RICH["pax"](specimen) for specimen in layers]
    plain = digests(build_image(tars, "plain"), with_threads(form, 1))
    assert digests(build_image(tars, "plain"), with_threads(form, 1)) == plain
    assert digests(build_image(tars, "plain"), with_threads(form, 0), drip=seed) == plain
    if not form.oci_ref:  # of which the stored layer is the data
        assert digests(build_image(tars, "gzip"), with_threads(form, 3)) == plain
        assert digests(build_image(tars, "zstd"), with_threads(form, 0), drip=seed) == plain


def test_a_tree_comes_back() -> None:
    every_time(100)(a_tree_comes_back)()


def test_equal_trees_give_equal_blobs() -> None:
    every_time(20)(equal_trees_give_equal_blobs)()


def test_equal_input_gives_equal_bytes() -> None:
    every_time(30)(equal_input_gives_equal_bytes)()


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "held", [a_tree_comes_back, equal_trees_give_equal_blobs, equal_input_gives_equal_bytes]
)
def test_at_length(held: object) -> None:
    at_length(2000)(held)()  # type: ignore[operator]  # a property is a function without arguments
