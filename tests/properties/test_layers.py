"""Any sequence of layers merges to what the kernel's overlayfs shows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from converter.errors import InvalidLayerError
from converter.options import ConvertOptions
from tests.images.tar import encode_tar
from tests.properties.conversions import convert_and_read
from tests.properties.effort import at_length, every_time
from tests.properties.layers import layers
from tests.properties.overlay import Layer, memory_file_system, mended
from tests.trees import Tree, assert_same_tree

OPTIONS = ConvertOptions(threads=1, chunk_size=4096)


def converted(stack: list[Layer]) -> Tree | None:
    """What our reader shows; None if the converter refuses a layer."""
    try:
        return convert_and_read([encode_tar(layer) for layer in stack], OPTIONS)[0]
    except InvalidLayerError:
        return None


def with_known_root(tree: Tree) -> Tree:
    """The tree with the time of a root that no layer lists, instead of that of its directory here."""
    return {path: replace(node, mtime_s=0) if path == b"." else node for path, node in tree.items()}


def hold_against_kernel(place: Path, examples: int, *, always_same: bool) -> None:
    effort = every_time if always_same else at_length

    @effort(examples)
    @given(layers())
    def layers_merge_as_overlayfs_shows_them(stack: list[Layer]) -> None:
        kept, expected = mended(stack, place)
        tree = converted(kept)
        assert tree is not None
        assert_same_tree(with_known_root(expected), tree)
        if kept != stack:
            assert converted(stack) is None

    layers_merge_as_overlayfs_shows_them()


@pytest.mark.root
def test_layers_merge_as_overlayfs_shows_them(tmp_path: Path) -> None:
    with memory_file_system(tmp_path) as place:
        hold_against_kernel(place, 200, always_same=True)


@pytest.mark.root
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_layers_merge_as_overlayfs_shows_them_at_length(tmp_path: Path) -> None:
    with memory_file_system(tmp_path) as place:
        hold_against_kernel(place, 5000, always_same=False)
