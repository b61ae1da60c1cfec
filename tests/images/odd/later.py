"""Cases that came after the digests of the odd image were pinned; `tests/converter/golden.py` has none."""

from __future__ import annotations

from tests.images.odd.case import Case, case
from tests.images.tar import BLOCK_DEVICE, CHAR, FIFO, Entry, directory, file, hardlink, symlink, whiteout

LATER: tuple[Case, ...] = (
    case("name-64-levels", [file("/".join(f"{level:02d}" for level in range(64)) + "/f", b"deep")]),
    case("hardlink-to-lower-symlink", [directory("d"), symlink("d/l", "nowhere")], [hardlink("d/m", "d/l")]),
    case(
        "hardlink-to-lower-devices",
        [
            directory("d"),
            Entry(b"d/c", CHAR, device=(1, 3), mode=0o666),
            Entry(b"d/b", BLOCK_DEVICE, device=(8, 1), mode=0o660),
            Entry(b"d/p", FIFO, mode=0o600),
        ],
        [
            hardlink("d/c2", "d/c", mode=0o666),
            hardlink("d/b2", "d/b", mode=0o660),
            hardlink("d/p2", "d/p", mode=0o600),
        ],
    ),
    case(
        "hardlink-to-lower-three-layers",
        [directory("d"), file("d/a", b"a")],
        [directory("e"), hardlink("e/b", "d/a")],
        [hardlink("c", "e/b"), whiteout("d/a")],
    ),
    case(
        "whiteout-of-others",
        [
            Entry(b"c", CHAR, device=(1, 3)),
            Entry(b"p", FIFO),
            symlink("l", "c"),
            directory("d"),
            hardlink("h", "c", mode=0o644),
            file("kept", b"kept"),
        ],
        [whiteout(name) for name in ("c", "p", "l", "d")],
    ),
    case(
        "file-to-directory-and-back-twice",
        [file("a", b"1")],
        [directory("a"), file("a/x", b"2")],
        [file("a", b"3")],
        [directory("a", 0o700), file("a/y", b"4")],
    ),
)
