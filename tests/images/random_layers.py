"""Random small layers, to be held against containerd where nobody thought of a case.

Some things are left out, because what containerd makes of them is an accident of how it unpacks
(docs/containerd-unpacking.md, "Accidents"): opaque markers in the lowest layer, xattrs of directories,
hardlinks to devices that are whiteouts, and in one layer a directory that something takes the place of. All
entries of a layer have one time for the same reason.
"""

from __future__ import annotations

import random
from dataclasses import replace

from tests.images.odd.case import Case, case
from tests.images.tar import (
    CHAR,
    DEFAULT_MTIME,
    DIRECTORY,
    FIFO,
    Entry,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    whiteout,
)

_NAMES = ("a", "b", "c", "-d")
_XATTRS: tuple[dict[bytes, bytes], ...] = ({}, {}, {}, {b"user.x": b"1"}, {b"user.y": b"2"})
_KINDS = {
    "file": 30, "directory": 25, "symlink": 10, "hardlink": 10,
    "whiteout": 14, "opaque": 5, "fifo": 3, "device": 3,
}  # fmt: skip


def random_case(seed: int) -> Case:
    """Up to four layers of a few entries that often meet each other; the same case for the same seed."""
    rng = random.Random(seed)
    return case(f"random-{seed}", *(_layer(rng, number) for number in range(rng.randint(1, 4))))


def has_accidents(chosen: Case) -> bool:
    """Whether containerd may give an unlisted directory the metadata of one that is not shown there."""
    return any(
        entry.kind == b"2" or entry.name.endswith(b".wh..wh..opq")
        for layer in chosen.layers
        for entry in layer
    )


def _layer(rng: random.Random, number: int) -> list[Entry]:
    entries: list[Entry] = []
    mtime = DEFAULT_MTIME + number * 1000
    for _ in range(rng.randint(1, 9)):
        linkable = [
            entry.name.decode()
            for entry in entries
            if entry.kind not in (DIRECTORY, CHAR) and b".wh." not in entry.name
        ]
        entry = replace(_entry(rng, linkable), mtime=mtime)
        target = entry.name.replace(b".wh.", b"")
        replaced = entry.kind != DIRECTORY and any((e.kind, e.name) == (DIRECTORY, target) for e in entries)
        if not replaced and (number or not entry.name.endswith(b".wh..wh..opq")):
            entries.append(entry)
    return entries


def _path(rng: random.Random) -> str:
    return "/".join(rng.choice(_NAMES) for _ in range(rng.choice((1, 1, 2, 2, 3))))


def _entry(rng: random.Random, linkable: list[str]) -> Entry:
    path, mode, uid = _path(rng), rng.choice((0o755, 0o700, 0o644, 0o1777, 0o4711)), rng.randint(0, 2)
    xattrs = rng.choice(_XATTRS)
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    if kind == "directory":
        return directory(path, mode, uid=uid)
    if kind == "symlink":
        return symlink(path, _path(rng), uid=uid)
    if kind == "hardlink" and linkable:
        return hardlink(path, rng.choice(linkable), mode=mode, uid=uid, xattrs=xattrs)
    if kind == "whiteout":
        return whiteout(path)
    if kind == "opaque":
        return opaque(path)
    if kind == "fifo":
        return Entry(path.encode(), FIFO, mode=mode, uid=uid)
    if kind == "device":
        return Entry(path.encode(), CHAR, mode=mode)
    return file(path, rng.randbytes(rng.choice((0, 5, 5000))), mode=mode, uid=uid, xattrs=xattrs)
