"""Random layers, converted by us, mounted by the kernel, and held to what containerd unpacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converter.options import ConvertOptions
from tests.images.odd import Case, case_image, odd_image
from tests.images.random_layers import has_accidents, random_case
from tests.interop.containerd import Containerd, UnpackRefusedError
from tests.interop.conversion import convert
from tests.interop.readers import by_kernel
from tests.trees import Tree, assert_same_tree, wrong_link_counts

pytestmark = [pytest.mark.root, pytest.mark.peers]

SEEDS = range(200)  # the first 2500 were held against it once


def unpackable(containerd: Containerd) -> list[Case]:
    """The random cases that containerd does not refuse."""
    cases = []
    for chosen in map(random_case, SEEDS):
        try:
            containerd.unpack(case_image(chosen, "plain"))
        except UnpackRefusedError:
            continue
        cases.append(chosen)
    return cases


def without_accidents(truth: Tree, shown: Tree, cases: list[Case]) -> Tree:
    """The truth, with our metadata for directories where containerd's may come from elsewhere."""
    accidental = {chosen.name.encode() for chosen in cases if has_accidents(chosen)}
    return {
        path: replace(node, mode=shown[path].mode, uid=shown[path].uid)
        if node.mtime_s is None and path.split(b"/")[0] in accidental and path in shown
        else node
        for path, node in truth.items()
    }


def test_the_kernel_shows_what_containerd_unpacks(truth_containerd: Containerd, tmp_path: Path) -> None:
    cases = unpackable(truth_containerd)
    assert len(cases) > 50
    image = odd_image(cases, "plain")
    truth = truth_containerd.unpack(image)
    options = ConvertOptions(compressor="none", kernel_mountable=True)
    conversion = convert(image, tmp_path / "converted", options)
    shown = by_kernel(conversion.bootstrap, conversion.devices(), tmp_path / "mnt")
    assert_same_tree(without_accidents(truth, shown, cases), shown)
    assert wrong_link_counts(shown) == []
