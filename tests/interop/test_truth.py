"""containerd and umoci do what docs/containerd-unpacking.md says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.layout import build_image
from tests.images.odd import BY_UMOCI, CASES, READ_BY_US, REFUSED, ROOTS, Case, case_image, named
from tests.images.tar import encode_tar, file
from tests.interop import umoci
from tests.interop.containerd import Containerd, UnpackRefusedError
from tests.interop.truth import CORRECTIONS
from tests.interop.umoci import UmociRefusedError
from tests.trees import Tree, differences

pytestmark = [pytest.mark.root, pytest.mark.peers]

# What the tables refuse or give to umoci for another reason than that containerd refuses it.
CONTAINERD_ACCEPTS = {
    "accident-opaque-lowest",
    "hardlink-to-lower-whiteout",
    "owner-over-32-bits", "name-dotdot-inside", "name-dotdot-inside-missing",
    *(case.name for case in ROOTS),
}  # fmt: skip
# Of one layer, the case shows what overlayfs would hide.
DIFFERENT_ALONE = {"whiteout-overlay-device-lowest", "symlink-own-absolute-entry-below"}


def refused_by_containerd(name: str) -> bool:
    return name in {*BY_UMOCI, *REFUSED, *READ_BY_US} - CONTAINERD_ACCEPTS


@pytest.mark.parametrize("case", [*CASES, *ROOTS], ids=lambda case: case.name)
def test_containerd_refuses_what_the_tables_say(
    case: Case, truth_containerd: Containerd, odd_tree: Tree
) -> None:
    if refused_by_containerd(case.name):
        with pytest.raises(UnpackRefusedError, match="failed to extract layer"):
            truth_containerd.unpack(case_image(case))
        return
    tree = truth_containerd.unpack(case_image(case))
    if case in CASES and not {case.name} & (
        DIFFERENT_ALONE | BY_UMOCI.keys() | REFUSED.keys() | READ_BY_US.keys()
    ):
        assert_as_in_odd_image(case, tree, odd_tree)


def assert_as_in_odd_image(case: Case, tree: Tree, odd_tree: Tree) -> None:
    """A case shows the same alone as among the others; but for its root, and where a correction applies."""
    base = case.name.encode() + b"/"
    corrected = {correction.path for correction in CORRECTIONS}
    inside = {
        path[len(base) :]: node
        for path, node in odd_tree.items()
        if path.startswith(base) and path not in corrected
    }
    alone = {path: node for path, node in tree.items() if path != b"." and base + path not in corrected}
    assert differences(inside, alone, ignore=("group",)) == []


@pytest.mark.parametrize("name", sorted(BY_UMOCI))
def test_umoci_unpacks_what_is_held_against_it(name: str, tmp_path: Path) -> None:
    assert umoci.unpack(case_image(named(name)), tmp_path / "work") != {}


@pytest.mark.parametrize(
    "name", sorted(name for name, why in REFUSED.items() if why.startswith("containerd and umoci"))
)
def test_umoci_refuses_too(name: str, tmp_path: Path) -> None:
    with pytest.raises(UmociRefusedError):
        umoci.unpack(case_image(named(name)), tmp_path / "work")


@pytest.mark.parametrize(
    "tar",
    [
        b"",
        encode_tar([file("a")], b""),
        encode_tar([file("a")], bytes(512)),
        encode_tar([file("a")], bytes(10240)),
        encode_tar([file("a")]) + b"garbage" * 1000,
        encode_tar([file("a")]) + encode_tar([file("b")]),
        encode_tar([file("a", b"content")], b"")[:-100],
    ],
    ids=["nothing", "no end", "half an end", "long end", "garbage", "entries after the end", "cut padding"],
)
def test_ends_that_containerd_accepts(tar: bytes, truth_containerd: Containerd) -> None:
    tree = truth_containerd.unpack(build_image([tar], "plain"))
    assert set(tree) == ({b"."} if tar == b"" else {b".", b"a"})


@pytest.mark.parametrize(
    "tar",
    [
        encode_tar([file("a", b"x" * 2000)])[:1000],
        encode_tar([file("a", b"x" * 20), file("b")])[:1124],
        encode_tar([file("a", b"x" * 20)]).replace(b"a\0", b"b\0", 1),
    ],
    ids=["inside content", "inside a header", "checksum"],
)
def test_ends_that_containerd_refuses(tar: bytes, truth_containerd: Containerd) -> None:
    with pytest.raises(UnpackRefusedError):
        truth_containerd.unpack(build_image([tar], "plain"))
