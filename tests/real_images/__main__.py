"""`make images-doc`: build real images, convert, check, mount and run them, and write `docs/images.md`.

Takes minutes, and a few more the first time; the layers that it builds stay in the cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.demo.lazy import registry_image
from tests.peers.programs import MissingProgramError, ProgramError
from tests.peers.registries import Registry, RegistryKind
from tests.peers.tools import skopeo_copy
from tests.real_images.images import Builder, builder, write_layout
from tests.real_images.measure import TAG, check, convert, run_lazily, size, stored_anew
from tests.real_images.recipes import RECIPES, Layers, Recipe, Tree, layers, layers_before
from tests.real_images.report import Measured, Release, report

PAGE: Final = Path(__file__).parents[2] / "docs/images.md"
_DEBIAN: Final = "debian"
_started: Final = time.monotonic()


class Session:
    """One run over some images.

    Args:
        registry: gets the conversions.
        build: makes the layers.
        directory: for whatever else.
    """

    def __init__(self, registry: Registry, build: Builder, directory: Path) -> None:
        self._registry = registry
        self._build = build
        self._directory = directory

    def measure(self, recipe: Recipe) -> Measured:
        """Builds, converts, checks, mounts and runs one image.

        Raises:
            ProgramError: something failed, or is not as it has to be.
            ValueError: the program said something else.
        """
        name, host = recipe.name, self._registry.host
        scratch = self._directory / name
        scratch.mkdir()
        source, sizes = self._push(name, "source", layers(recipe), scratch)
        convert(source, f"docker://{host}/{name}:{TAG}")
        check(source, host, name, scratch)
        run = run_lazily(self._registry, name, recipe.program, scratch)
        recipe.check(run.output)
        say(f"{name}: {run.output.splitlines()[-1]!r} after {run.seconds:.1f} s, {run.fetched / 1e6:.1f} MB")
        measured = Measured(
            recipe, sizes, size(host, name), run, self._beside_debian(recipe, source),
            self._release(recipe, source, scratch),
        )  # fmt: skip
        shutil.rmtree(scratch)
        return measured

    def _push(self, name: str, tag: str, wanted: Layers, scratch: Path) -> tuple[str, list[int]]:
        """An ordinary image in the registry, and the sizes of its layers."""
        stored, layout = self._build.layers(wanted), scratch / f"layout-{tag}"
        write_layout(stored, layout, tag)
        target = f"docker://{self._registry.host}/{name}:{tag}"
        skopeo_copy(f"oci:{layout}:{tag}", target)
        return target, [layer.size for layer in stored]

    def _beside_debian(self, recipe: Recipe, source: str) -> int | None:
        if not recipe.debian:
            return None
        return self._anew(source, recipe.name, "beside-debian", _DEBIAN, TAG)

    def _release(self, recipe: Recipe, source: str, scratch: Path) -> Release | None:
        wanted, host = layers_before(recipe), self._registry.host
        if wanted is None or recipe.before is None:
            return None
        before, _ = self._push(recipe.name, "source-before", wanted, scratch)
        convert(before, f"docker://{host}/{recipe.name}:before")
        there, image = (registry_image(host, recipe.name, tag) for tag in ("before", TAG))
        by_chunks = self._anew(source, recipe.name, "after", recipe.name, "before")
        return Release(_change(recipe), stored_anew(image, there), by_chunks)

    def _anew(self, source: str, name: str, tag: str, dictionary: str, dictionary_tag: str) -> int:
        """Converts once more with a dictionary; bytes of data that this stores anew."""
        host = self._registry.host
        lender = f"docker://{host}/{dictionary}:{dictionary_tag}"
        convert(source, f"docker://{host}/{name}:{tag}", "--chunk-dict", lender)
        there = registry_image(host, dictionary, dictionary_tag)
        return stored_anew(registry_image(host, name, tag), there)


def _change(recipe: Recipe) -> str:
    """What the release before has instead."""
    if not isinstance(recipe.before, Tree) or recipe.tree is None:
        return str(recipe.before)
    return ", ".join(sorted(set(recipe.before.packages) - set(recipe.tree.packages)))


def say(text: str) -> None:
    """Prints a line with the time since the start."""
    print(f"{time.monotonic() - _started:6.1f} s  {text}", flush=True)


def main() -> int:
    """Runs the command line; the exit status is 0 if every image did what it has to."""
    parser = argparse.ArgumentParser(prog="python -m tests.real_images", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these images, and write no page")
    names = parser.parse_args().names
    if os.geteuid() != 0:
        print("This installs packages into directories and mounts images, which needs root.", file=sys.stderr)
        return 1
    chosen = [recipe for recipe in RECIPES if not names or recipe.name in {_DEBIAN, *names}]
    try:
        with tempfile.TemporaryDirectory(prefix="dragonhook-images-") as scratch, builder(say) as build:
            directory = Path(scratch)
            with Registry(RegistryKind.V2, directory / "registry") as registry:
                session = Session(registry, build, directory)
                measured = [session.measure(recipe) for recipe in chosen]
    except (MissingProgramError, ProgramError, ValueError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    text = report(measured)
    if names:
        print(text)
    else:
        PAGE.write_text(text)
        say(f"wrote {PAGE.name} with {len(measured)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
