"""Writes `docs/images.md` from what was measured."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tests.real_images.measure import Run, Size
from tests.real_images.recipes import Recipe

_TITLE = """\
# Real images

Written by `make images-doc`, which builds these images from package registries, converts them with
`dragonhook convert` into a registry, holds each conversion against its source with `dragonhook check` and
`nydus-image check`, mounts it with nydusd from that registry, and runs a program in the mount. Debian's
packages move with its security fixes, and the figures with them. MB are 10^6 bytes.
"""
_SIZES = """
## Sizes

*Source*: the gzip layers. *Data*: the data blobs, in zstd. *Bootstrap*: all that a node downloads before the
mount. *Twice*: how much of the files' content is in the image before, in whole chunks; it is stored once.
*Beside Debian*: the data that a registry stores anew when the image `debian` is the chunk dictionary.
"""
_RUNS = """
## What a program fetches

Bytes of data blobs that the registry sent, by its log, until the program had ended. nydusd had an empty
cache, fetched nothing in advance, and checked the digest of every chunk. The bootstrap comes on top. The
mount lay below an overlay, as a container engine has it. Over 100 % means that some ranges were sent twice.
"""
_RELEASES = """
## The next release of an image

The data stored anew for a release when the one before is there: by whole blobs, as any registry does it, and
by chunks, with the release before as the chunk dictionary.
"""


@dataclass(frozen=True)
class Release:
    """A release of an image beside the one before.

    Args:
        change: what the one before had instead.
        by_blobs: bytes stored anew without a dictionary.
        by_chunks: bytes stored anew with the one before as dictionary.
    """

    change: str
    by_blobs: int
    by_chunks: int


@dataclass(frozen=True)
class Measured:
    """All that was measured of one image.

    Args:
        recipe: of the image.
        layers: bytes of each layer of the source.
        size: of the conversion.
        run: of its program.
        beside_debian: bytes of data stored anew with the Debian image as dictionary; None where it has none.
        release: against an earlier release, if there is one.
    """

    recipe: Recipe
    layers: Sequence[int]
    size: Size
    run: Run
    beside_debian: int | None
    release: Release | None


def report(images: Sequence[Measured]) -> str:
    """The text of the page."""
    parts = [_TITLE, _SIZES, _table(_SIZES_HEAD, [_sizes(image) for image in images])]
    parts += [_RUNS, _table(_RUNS_HEAD, [_run(image) for image in images])]
    releases = [_release(image, image.release) for image in images if image.release]
    return "\n".join([*parts, _RELEASES, _table(_RELEASES_HEAD, releases)]).replace("\n\n\n", "\n\n")


_SIZES_HEAD = (
    "Image", "Contents", "Layers", "Source MB", "Names", "Chunks", "Data MB", "Bootstrap MB", "Of source",
    "Twice", "Beside Debian MB",
)  # fmt: skip
_RUNS_HEAD = ("Image", "Program", "Fetched MB", "Of data")
_RELEASES_HEAD = ("Image", "Before", "Data MB", "Anew by blobs MB", "Anew by chunks MB")


def _sizes(image: Measured) -> tuple[str, ...]:
    size, source = image.size, sum(image.layers)
    return (
        image.recipe.name,
        contents(image.recipe),
        str(len(image.layers)),
        _mb(source),
        str(size.names),
        str(size.chunks),
        _mb(size.data),
        f"{size.bootstrap / 1e6:.2f}",
        _share(size.data + size.bootstrap, source),
        _share(size.content - size.distinct, size.content),
        "" if image.beside_debian is None else _mb(image.beside_debian),
    )


def _run(image: Measured) -> tuple[str, ...]:
    return (
        image.recipe.name,
        f"`{command(image.recipe)}`",
        _mb(image.run.fetched),
        _share(image.run.fetched, image.size.data),
    )


def _release(image: Measured, release: Release) -> tuple[str, ...]:
    sizes = (_mb(image.size.data), _mb(release.by_blobs), _mb(release.by_chunks))
    return (image.recipe.name, release.change, *sizes)


def contents(recipe: Recipe) -> str:
    """What an image is made of."""
    parts = [] if recipe.debian is None else ["Debian, minimal"]
    parts += [", ".join(recipe.debian)] if recipe.debian else []
    parts += [f"{recipe.tree.registry}: {recipe.tree}"] if recipe.tree else []
    return "; ".join(parts)


def command(recipe: Recipe) -> str:
    """The program, shortened to what fits into a table."""
    *_, script = recipe.program
    text = script.replace("\n", "; ") if recipe.program[0] == "/bin/sh" else " ".join(recipe.program)
    return textwrap.shorten(text.replace("|", "¦").replace("`", "'"), 100, placeholder=" …")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
