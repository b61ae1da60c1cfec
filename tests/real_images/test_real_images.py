"""The command behind `docs/images.md` does what it says, with one image that the cache has."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.demo.image import PROGRAM, PROGRAM_OUTPUT_ENDS, TAG, demo_image
from tests.peers.registries import Registry, RegistryKind
from tests.real_images.layers import pack
from tests.real_images.measure import convert, run_lazily, size
from tests.real_images.recipes import RECIPES, Recipe
from tests.real_images.report import contents
from tests.real_images.rootfs import overlay

PAGE = Path(__file__).parents[2] / "docs/images.md"


@pytest.mark.root
@pytest.mark.interop
def test_a_program_runs_from_a_conversion(tmp_path: Path) -> None:
    layout, _ = demo_image()
    source = f"oci:{layout}:{TAG}"
    with Registry(RegistryKind.V2, tmp_path / "registry") as registry:
        convert(source, f"docker://{registry.host}/demo:nydus")
        made = size(registry.host, "demo")
        run = run_lazily(registry, "demo", ("/usr/bin/python3", "-c", PROGRAM), tmp_path)
    assert run.output.endswith(PROGRAM_OUTPUT_ENDS)
    assert 0 < made.bootstrap < run.fetched < made.data / 2
    assert 0 < made.distinct < made.content
    assert made.chunks > 10_000


@pytest.mark.root
def test_an_upper_directory_is_packed_as_a_layer(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    (lower / "d").mkdir(parents=True)
    for name in ("gone", "d/a"):
        (lower / name).write_bytes(b"lower")
    with overlay(lower, tmp_path / "overlay") as (root, upper):
        (root / "gone").unlink()
        (root / "d/a").unlink()
        (root / "d").rmdir()
        (root / "d").mkdir(mode=0o700)
        (root / "d/b").write_bytes(b"b")
        (root / "d/c").hardlink_to(root / "d/b")
        (root / "l").symlink_to("d/b")
    with tarfile.open(pack(upper, tmp_path, is_upper=True)) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["d", "d/.wh..wh..opq", "d/b", "d/c", ".wh.gone", "l"]
    assert members["d"].mode == 0o700
    assert members["d/c"].linkname == "d/b"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_page_has_the_image(recipe: Recipe) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {recipe.name} |")]
    assert len(rows) == 2 + (recipe.before is not None), "run `make images-doc`"
    assert contents(recipe) in rows[0], "run `make images-doc`"
