"""What must come of the cases that containerd refuses, or that are not for us to follow.

`REFUSED`: the conversion fails. `BY_UMOCI`: umoci's tree is the truth. `READ_BY_US`: what
it means is clear all the same; it is what containerd shows of the other case given there.
"""

from __future__ import annotations

from tests.images.odd.case import Case, case
from tests.images.odd.names import SPARSE
from tests.images.odd.whiteouts import LOWER
from tests.images.tar import Entry, directory, file, symlink, whiteout

_NO_TARGET = "containerd unpacks into the upper directory, which does not have the target"

BY_UMOCI: dict[str, str] = {
    "whiteout-directory-before-implicit": "containerd wants to make a directory inside the whiteout",
    "whiteout-directory-then-deeper": "containerd wants to make a directory inside the whiteout",
    "whiteout-twice": "containerd makes a device of a whiteout, and cannot make it twice",
    "hardlink-to-lower": _NO_TARGET,
    "hardlink-to-lower-symlink": _NO_TARGET,
    "hardlink-to-lower-devices": _NO_TARGET,
    "hardlink-to-lower-three-layers": _NO_TARGET,
    "hardlink-two-to-lower": _NO_TARGET,
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
    "type-unknown": _BOTH,
    "type-solaris-socket": _BOTH,
    "type-directory-with-content": _BOTH,
    "name-256": _BOTH,
    "name-over-path-max": _BOTH,
    "name-dotdot-inside": _LEAVES,
    "name-dotdot-inside-missing": _LEAVES,
    "path-absolute": _LEAVES,
    "path-absolute-directory": _LEAVES,
    "path-absolute-hardlink-target": _LEAVES,
    "path-dotdot": _LEAVES,
    "path-dotdot-deep": _LEAVES,
    "path-dotdot-alone": _LEAVES,
    "path-dotdot-whiteout": _LEAVES,
    "path-dotdot-hardlink": _LEAVES,
}


def expand_sparse(entry: Entry) -> bytes:
    """The whole content of an old GNU sparse entry."""
    assert entry.old_sparse is not None
    real_size, pieces = entry.old_sparse
    content, taken = bytearray(real_size), 0
    for offset, length in pieces:
        content[offset : offset + length] = entry.content[taken : taken + length]
        taken += length
    return bytes(content)


def _expanded(name: str) -> Case:
    sparse, after = next(case.layers[0] for case in SPARSE if case.name == name)
    return case(name, [file(sparse.name, expand_sparse(sparse)), after])


_REMOVES = "a whiteout removes what its own layer had before it, as containerd does in the lowest layer only"
_SPARSE = "containerd and umoci know no type S"

READ_BY_US: dict[str, tuple[Case, str]] = {
    "whiteout-after-own": (
        case("whiteout-after-own", LOWER, [directory("d"), whiteout("d/x")]), _REMOVES,
    ),
    "whiteout-after-own-new": (case("whiteout-after-own-new", LOWER, [directory("d")]), _REMOVES),
    "whiteout-directory-after-own": (
        case("whiteout-directory-after-own", LOWER, [whiteout("d")]), _REMOVES,
    ),
    "whiteout-directory-after-implicit": (
        case("whiteout-directory-after-implicit", LOWER, [whiteout("d")]), _REMOVES,
    ),
    "accident-opaque-lowest": (
        case("accident-opaque-lowest", [directory("c"), symlink("c/c/l", "x")]),
        "containerd removes what it made itself: the unlisted directory, with the entry in it",
    ),
    "hardlink-target-removed": (
        case("hardlink-target-removed", [file("other")], [file("b", b"a")]), _REMOVES,
    ),
    **{name: (_expanded(name), _SPARSE) for name in ("sparse-gnu", "sparse-gnu-extended", "sparse-gnu-hole")},
    "type-contiguous": (
        case("type-contiguous", [file("a", b"contiguous")]), "POSIX lets type 7 be read as a file",
    ),
}  # fmt: skip
