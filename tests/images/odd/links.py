"""Hardlinks, symlinks, and paths that one layer lists twice."""

from __future__ import annotations

from tests.images.odd.case import Case, case
from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    FIFO,
    HARDLINK,
    Entry,
    directory,
    file,
    hardlink,
    symlink,
    whiteout,
)

HARDLINKS: tuple[Case, ...] = (
    case("hardlink-siblings", [file("a", b"content", uid=1), hardlink("b", "a", uid=1)]),
    case(
        "hardlink-across-directories",
        [
            directory("p"),
            directory("q", 0o700),
            file("q/a", b"1"),
            hardlink("p/b", "q/a"),
            hardlink("p/c/d", "p/b"),
        ],
    ),
    case(
        "hardlink-other-metadata",
        [
            file("a", b"a", mode=0o644, uid=1, gid=2),
            hardlink("b", "a", mode=0o4755, uid=3, gid=4, mtime=1000),
        ],
    ),
    case(
        "hardlink-other-xattrs",
        [file("a", b"a", xattrs={b"user.a": b"1"}), hardlink("b", "a", xattrs={b"user.b": b"2"})],
    ),
    case("hardlink-with-content", [file("a", b"first"), Entry(b"b", HARDLINK, b"second", link=b"a")]),
    case(
        "hardlink-with-size-only",
        [file("a", b"first"), Entry(b"b", HARDLINK, link=b"a", size=5), file("c", b"c")],
    ),
    case("hardlink-empty-file", [file("a"), hardlink("b", "a")]),
    case("hardlink-to-symlink", [symlink("l", "nowhere", uid=5), hardlink("m", "l", uid=5)]),
    case("hardlink-to-symlink-of-file", [file("f", b"f"), symlink("l", "f"), hardlink("m", "l")]),
    case(
        "hardlink-to-symlink-other-metadata",
        [symlink("l", "nowhere", uid=5), hardlink("m", "l", uid=6, mtime=1000)],
    ),
    case(
        "hardlink-to-char-device",
        [Entry(b"c", CHAR, device=(1, 3), mode=0o666), hardlink("d", "c", mode=0o666)],
    ),
    case(
        "hardlink-to-block-device",
        [Entry(b"c", BLOCK_DEVICE, device=(8, 1), mode=0o660), hardlink("d", "c", mode=0o660)],
    ),
    case("hardlink-to-fifo", [Entry(b"p", FIFO, mode=0o600), hardlink("q", "p", mode=0o600)]),
    case("hardlink-to-directory", [directory("d"), hardlink("e", "d")]),
    case("hardlink-to-missing", [hardlink("b", "a")]),
    case("hardlink-before-target", [hardlink("b", "a"), file("a", b"a")]),
    case("hardlink-to-itself", [file("a", b"a"), hardlink("a", "a")]),
    case(
        "hardlink-through-symlink",
        [directory("d"), file("d/a", b"a"), symlink("l", "d"), hardlink("b", "l/a")],
    ),
    case("hardlink-target-dotted", [file("d/a", b"a"), hardlink("b", "./d//a")]),
    case("hardlink-replaces-file", [file("a", b"a"), file("b", b"b"), hardlink("b", "a")]),
    case("hardlink-target-replaced", [file("a", b"old"), hardlink("b", "a"), file("a", b"new")]),
    case(
        "hardlink-target-replaced-then-linked",
        [file("a", b"old"), hardlink("b", "a"), file("a", b"new"), hardlink("c", "a")],
    ),
    case("hardlink-target-removed", [file("other")], [file("a", b"a"), hardlink("b", "a"), whiteout("a")]),
    case(
        "hardlink-broken-by-upper",
        [file("a", b"old"), hardlink("b", "a"), hardlink("c", "a")],
        [file("a", b"new")],
    ),
    case(
        "hardlink-relinked-in-upper",
        [file("a", b"old"), hardlink("b", "a")],
        [file("a", b"new"), hardlink("b", "a")],
    ),
    case(
        "hardlink-to-lower", [directory("d"), file("d/a", b"lower", uid=4)], [hardlink("d/b", "d/a", uid=4)]
    ),
    case(
        "hardlink-to-lower-whiteout",
        [directory("d"), file("d/a", b"lower")],
        [whiteout("d/a"), hardlink("d/b", "d/a")],
    ),
    case(
        "hardlink-two-to-lower",
        [directory("d"), file("d/a", b"lower")],
        [hardlink("d/b", "d/a"), hardlink("d/c", "d/b")],
    ),
    case(
        "hardlink-in-two-layers",
        [file("a", b"one"), hardlink("b", "a")],
        [file("c", b"two"), hardlink("d", "c"), hardlink("e", "d")],
    ),
    case(
        "hardlink-with-big-content",
        [file("a", bytes(range(256)) * 8192), hardlink("b", "a"), hardlink("z/c", "a")],
    ),
)

SYMLINKS: tuple[Case, ...] = (
    case(
        "symlink-kinds",
        [
            symlink("up", "../.."),
            symlink("absolute", "/etc/passwd"),
            symlink("slash", "d/"),
            symlink("dot", "."),
        ],
    ),
    case("symlink-metadata", [symlink("l", "x", uid=11, gid=12, mtime=1234567)]),
    case("symlink-target-not-utf8", [symlink("l", b"\xff\xfe/\x80")]),
    case(
        "symlink-lengths",
        [
            symlink(f"l{n}", b"t" * n)
            for n in (
                1,
                99,
                100,
                101,
                255,
                511,
                512,
                513,
                1000,
                2048,
                3999,
                4031,
                4032,
                4033,
                4063,
                4064,
                4065,
                4094,
                4095,
            )
        ],
    ),
    case("symlink-lengths-gnu", [symlink(f"l{n}", b"g" * n, form="gnu") for n in (99, 100, 101, 513, 4095)]),
    case("symlink-4096", [symlink("l", b"t" * 4096)]),
    case("symlink-empty-target", [symlink("l", b"")]),
    case("symlink-with-trusted-xattr", [symlink("l", "x", xattrs={b"trusted.a": b"1"})]),
    case("symlink-with-user-xattr", [symlink("l", "x", xattrs={b"user.a": b"1"})]),
    case("symlink-with-content", [Entry(b"l", b"2", b"content", link=b"target"), file("after", b"after")]),
    case("symlink-loop", [symlink("a", "b"), symlink("b", "a")]),
)

TWICE: tuple[Case, ...] = (
    case("twice-file", [file("a", b"first", mode=0o600), file("a", b"second", mode=0o640)]),
    case("twice-file-shorter", [file("a", b"a long first content"), file("a", b"s")]),
    case("twice-file-xattrs", [file("a", b"1", xattrs={b"user.a": b"1"}), file("a", b"2")]),
    case("twice-directory", [directory("d", 0o700), file("d/a", b"a"), directory("d", 0o711, uid=2)]),
    case(
        "twice-directory-xattrs",
        [directory("d", xattrs={b"user.a": b"1"}), directory("d", xattrs={b"user.b": b"2"})],
    ),
    case("twice-file-then-directory", [file("a", b"a"), directory("a"), file("a/b", b"b")]),
    case("twice-directory-then-file", [directory("a"), file("a/b", b"b"), file("a", b"file")]),
    case("twice-empty-directory-then-file", [directory("a"), file("a", b"file")]),
    case("twice-directory-then-symlink", [directory("a"), directory("b"), symlink("a", "b")]),
    case(
        "twice-full-directory-then-symlink",
        [directory("a"), file("a/x", b"x"), directory("b"), symlink("a", "b")],
    ),
    case("twice-symlink-then-file", [file("t", b"target"), symlink("a", "t"), file("a", b"file")]),
    case("twice-symlink-then-symlink", [symlink("a", "t"), symlink("a", "u")]),
    case("twice-with-dots", [file("a", b"1"), file("./a", b"2"), file(".//a", b"3")]),
    case("twice-fifo", [Entry(b"p", FIFO), Entry(b"p", FIFO, mode=0o600)]),
    case("child-below-file", [file("a", b"a"), file("a/b", b"b")]),
    case("child-below-symlink-to-file", [file("t", b"t"), symlink("a", "t"), file("a/b", b"b")]),
)
