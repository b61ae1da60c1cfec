"""The odd image: every odd thing that a layer can hold, each in a directory of its own.

`CASES` go together into one image; each of `ROOTS` is an image of its own. What must come of a case is what
containerd shows of it. The cases that containerd refuses are in the tables of `tables.py`. All measured facts
are in `docs/containerd-unpacking.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.images.layout import Compression, Image, build_image
from tests.images.odd import links, metadata, names, whiteouts
from tests.images.odd.case import Case
from tests.images.odd.later import LATER
from tests.images.odd.roots import ROOTS
from tests.images.odd.tables import BY_UMOCI, READ_BY_US, REFUSED
from tests.images.tar import encode_tar

__all__ = [
    "BY_UMOCI",
    "CASES",
    "LATER",
    "READ_BY_US",
    "REFUSED",
    "ROOTS",
    "Case",
    "case_image",
    "named",
    "odd_image",
]

CASES: tuple[Case, ...] = (
    *whiteouts.WHITEOUTS, *whiteouts.OPAQUE, *whiteouts.REPLACED,
    *links.HARDLINKS, *links.SYMLINKS, *links.TWICE,
    *metadata.MODES, *metadata.TIMES, *metadata.XATTRS, *metadata.DEVICES, *metadata.IMPLICIT,
    *metadata.ACCIDENTS,
    *names.NAMES, *names.CONTENTS, *names.SPARSE,
    *LATER,
)  # fmt: skip


def named(name: str) -> Case:
    """The case of that name.

    Raises:
        KeyError: there is none.
    """
    return {case.name: case for case in (*CASES, *ROOTS)}[name]


def odd_image(cases: Iterable[Case], compression: Sequence[Compression] | Compression = "gzip") -> Image:
    """One image of many cases, each below a directory of its name."""
    chosen = list(cases)
    count = max(len(case.layers) for case in chosen)
    tars = [encode_tar(entry for case in chosen for entry in case.entries(layer)) for layer in range(count)]
    return build_image(tars, compression if isinstance(compression, str) else compression[:count])


def case_image(case: Case, compression: Compression = "gzip") -> Image:
    """An image of one case, with its names in the root."""
    return build_image([encode_tar(layer) for layer in case.layers], compression)
