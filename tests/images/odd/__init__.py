"""The odd image: every odd thing that a layer can hold, each in a directory of its own.

`CASES` go together into one image; each of `ROOTS` is an image of its own. What must come of a case is what
containerd shows of it, but for three tables: `BY_UMOCI` (containerd refuses a case, or breaks the
specification; umoci's tree is the truth), `REFUSED` (the conversion must fail) and `EXPANDED` (old GNU
sparse, which both refuse and we can read). The measured facts are in `docs/containerd-unpacking.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.images.layout import Compression, Image, build_image
from tests.images.odd import links, metadata, names, whiteouts
from tests.images.odd.case import Case
from tests.images.odd.roots import ROOTS
from tests.images.tar import encode_tar

__all__ = ["BY_UMOCI", "CASES", "EXPANDED", "REFUSED", "ROOTS", "Case", "case_image", "named", "odd_image"]

CASES: tuple[Case, ...] = (
    *whiteouts.WHITEOUTS, *whiteouts.OPAQUE, *whiteouts.REPLACED,
    *links.HARDLINKS, *links.SYMLINKS, *links.TWICE,
    *metadata.MODES, *metadata.TIMES, *metadata.XATTRS, *metadata.DEVICES, *metadata.IMPLICIT,
    *names.NAMES, *names.CONTENTS, *names.SPARSE,
)  # fmt: skip

_SPEC = "the specification: a whiteout touches lower layers only, wherever it stands in its own"
_OVERLAY_ROOT = "containerd never applies the root's entry, and overlayfs ignores an opaque root"

BY_UMOCI: dict[str, str] = {
    "whiteout-lowest-after-own": _SPEC + "; containerd removes the layer's own file",
    "whiteout-after-own": _SPEC + "; containerd refuses",
    "whiteout-after-own-new": _SPEC + "; containerd refuses",
    "whiteout-directory-before-own": _SPEC + "; with containerd the lower directory comes back",
    "whiteout-directory-after-own": _SPEC + "; containerd refuses",
    "whiteout-directory-before-implicit": _SPEC + "; containerd refuses",
    "whiteout-directory-after-implicit": _SPEC + "; containerd refuses",
    "whiteout-directory-then-deeper": _SPEC + "; containerd refuses",
    "whiteout-twice": "containerd refuses",
    "hardlink-target-removed": _SPEC + "; containerd refuses",
    "hardlink-to-lower": "containerd refuses hardlinks to lower layers",
    "hardlink-two-to-lower": "containerd refuses hardlinks to lower layers",
    "root-listed": _OVERLAY_ROOT,
    "root-listed-by-dot": _OVERLAY_ROOT,
    "root-listed-by-slash": _OVERLAY_ROOT,
    "root-listed-last": _OVERLAY_ROOT,
    "root-kept-by-upper": _OVERLAY_ROOT,
    "root-kept-by-two": _OVERLAY_ROOT,
    "root-replaced-by-upper": _OVERLAY_ROOT,
    "root-listed-in-upper-only": _OVERLAY_ROOT,
    "root-whiteout": _OVERLAY_ROOT,
    "root-opaque": _OVERLAY_ROOT,
    "root-opaque-listed": _OVERLAY_ROOT,
    "root-opaque-last": _OVERLAY_ROOT,
}

_BOTH = "containerd and umoci refuse it"
_LEAVES = "the path is absolute or has a `..` component: both clamp it into the root, we refuse"

REFUSED: dict[str, str] = {
    "whiteout-name-empty": "containerd refuses it; it hides nothing",
    "hardlink-with-content": _BOTH,
    "hardlink-to-directory": _BOTH,
    "hardlink-to-missing": _BOTH,
    "hardlink-before-target": _BOTH,
    "hardlink-to-itself": _BOTH,
    "hardlink-to-lower-whiteout": "umoci refuses it; containerd links the whiteout itself",
    "symlink-4096": _BOTH,
    "symlink-empty-target": _BOTH,
    "symlink-with-content": _BOTH,
    "child-below-file": _BOTH,
    "child-below-symlink-to-file": _BOTH,
    "owner-over-32-bits": "both cut the number to 32 bits, which gives the file to somebody else",
    "mtime-record-broken": _BOTH,
    "xattr-name-too-long": _BOTH,
    "device-with-content": _BOTH,
    "type-contiguous": _BOTH,
    "type-unknown": _BOTH,
    "type-solaris-socket": _BOTH,
    "type-directory-with-content": _BOTH,
    "name-256": _BOTH,
    "name-over-path-max": _BOTH,
    "name-dotdot-inside": _LEAVES,
    "name-dotdot-inside-missing": _LEAVES,
    "path-absolute": _LEAVES,
    "path-absolute-directory": _LEAVES,
    "path-dotdot": _LEAVES,
    "path-dotdot-deep": _LEAVES,
    "path-dotdot-alone": _LEAVES,
    "path-dotdot-whiteout": _LEAVES,
    "path-dotdot-hardlink": _LEAVES,
    "root-as-symlink": "umoci refuses it; containerd ignores every entry of the root",
}

EXPANDED: dict[str, str] = {
    "sparse-gnu": "containerd and umoci refuse type S",
    "sparse-gnu-extended": "containerd and umoci refuse type S",
    "sparse-gnu-hole": "containerd and umoci refuse type S",
}


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
