"""Whiteouts, opaque directories, and paths that change their type from layer to layer."""

from __future__ import annotations

from tests.images.odd.case import Case, case
from tests.images.tar import CHAR, Entry, directory, file, hardlink, opaque, symlink, whiteout

LOWER = (
    directory("d", 0o750, uid=3),
    file("d/x", b"lower x"),
    file("d/y", b"lower y"),
    directory("d/s"),
    file("d/s/t", b"t"),
)

WHITEOUTS: tuple[Case, ...] = (
    case("whiteout-file", LOWER, [directory("d", 0o750, uid=3), whiteout("d/x")]),
    case("whiteout-directory", LOWER, [directory("d"), whiteout("d/s")]),
    case("whiteout-parents-unlisted", LOWER, [whiteout("d/s/t")]),
    case(
        "whiteout-of-nothing",
        LOWER,
        [directory("d"), whiteout("d/never"), directory("e"), whiteout("e/never")],
    ),
    case("whiteout-of-nothing-implicit", LOWER, [whiteout("e/never")]),
    case("whiteout-lowest-of-nothing", [directory("d"), file("d/x", b"x"), whiteout("d/never")]),
    case(
        "whiteout-lowest-after-own", [directory("d"), file("d/x", b"x"), file("d/y", b"y"), whiteout("d/x")]
    ),
    case("whiteout-lowest-before-own", [directory("d"), whiteout("d/x"), file("d/x", b"x")]),
    case("whiteout-before-own", LOWER, [directory("d"), whiteout("d/x"), file("d/x", b"new x")]),
    case("whiteout-after-own", LOWER, [directory("d"), file("d/x", b"new x"), whiteout("d/x")]),
    case("whiteout-after-own-new", LOWER, [directory("d"), file("d/new", b"new"), whiteout("d/new")]),
    case("whiteout-directory-before-own", LOWER, [whiteout("d"), directory("d", 0o700), file("d/z", b"z")]),
    case("whiteout-directory-after-own", LOWER, [directory("d", 0o700), file("d/z", b"z"), whiteout("d")]),
    case("whiteout-directory-before-implicit", LOWER, [whiteout("d"), file("d/z", b"z")]),
    case("whiteout-directory-after-implicit", LOWER, [file("d/z", b"z"), whiteout("d")]),
    case("whiteout-directory-then-deeper", LOWER, [whiteout("d/s"), file("d/s/u/v", b"v")]),
    case("whiteout-twice", LOWER, [directory("d"), whiteout("d/x"), whiteout("d/x")]),
    case(
        "whiteout-and-back",
        LOWER,
        [directory("d"), whiteout("d/x")],
        [directory("d"), file("d/x", b"third x")],
    ),
    case("whiteout-directory-and-back", LOWER, [whiteout("d")], [file("d/z", b"z")]),
    case(
        "whiteout-directory-two-down",
        LOWER,
        [file("other")],
        [whiteout("d")],
        [directory("d"), file("d/w", b"w")],
    ),
    case("whiteout-of-hardlink", [file("a", b"a"), hardlink("b", "a"), hardlink("c", "a")], [whiteout("a")]),
    case("whiteout-symlink", [symlink("l", "d"), *LOWER], [whiteout("l")]),
    case("whiteout-with-content", LOWER, [directory("d"), Entry(b"d/.wh.x", content=b"content")]),
    case("whiteout-as-directory", LOWER, [directory("d"), directory("d/.wh.x")]),
    case("whiteout-as-symlink", LOWER, [directory("d"), symlink("d/.wh.x", "y")]),
    case("whiteout-name-empty", LOWER, [directory("d"), file("d/.wh.")]),
    case(
        "whiteout-name-not-utf8",
        [directory("d"), file(b"d/\xff\xfe", b"1")],
        [directory("d"), whiteout(b"d/\xff\xfe")],
    ),
    case("whiteout-child-of-whiteout-name", LOWER, [directory("d"), file("d/.wh.s/t", b"below a whiteout")]),
    case(
        "whiteout-and-child-of-whiteout-name",
        LOWER,
        [whiteout("d/s"), file("d/.wh.s/t", b"below a whiteout")],
    ),
    case("whiteout-aufs-parents-unlisted", LOWER, [file("e/.wh..wh.aufs")]),
    case(
        "whiteout-aufs",
        LOWER,
        [
            file(".wh..wh.aufs"),
            directory(".wh..wh.plnk"),
            file(".wh..wh.plnk/1.2", b"link"),
            directory(".wh..wh.orph"),
            directory("d"),
        ],
    ),
    case(
        "whiteout-aufs-hardlink",
        LOWER,
        [
            directory(".wh..wh.plnk"),
            file(".wh..wh.plnk/1.2", b"link"),
            hardlink("d/p", ".wh..wh.plnk/1.2"),
            hardlink("d/q", ".wh..wh.plnk/1.2"),
        ],
    ),
    case(
        "whiteout-opq-like",
        [directory("d"), file("d/.wh..opqX")],
        [directory("d"), file("d/.wh..wh..opqX"), file("d/z", b"z")],
    ),
    case("whiteout-overlay-device", LOWER, [directory("d"), Entry(b"d/x", CHAR, device=(0, 0), mode=0o600)]),
    case("whiteout-overlay-device-lowest", [directory("d"), Entry(b"d/x", CHAR, device=(0, 0), mode=0o600)]),
    case(
        "opaque-overlay-xattr",
        LOWER,
        [directory("d", xattrs={b"trusted.overlay.opaque": b"y"}), file("d/z", b"z")],
    ),
)

OPAQUE: tuple[Case, ...] = (
    case("opaque-first", LOWER, [directory("d", 0o700), opaque("d"), file("d/z", b"z")]),
    case("opaque-last", LOWER, [directory("d", 0o700), file("d/z", b"z"), opaque("d")]),
    case("opaque-before-directory", LOWER, [opaque("d"), file("d/z", b"z"), directory("d", 0o700)]),
    case("opaque-parent-unlisted", LOWER, [opaque("d"), file("d/z", b"z")]),
    case("opaque-alone", LOWER, [directory("d"), opaque("d")]),
    case(
        "opaque-keeps-own-same-name",
        LOWER,
        [directory("d"), file("d/x", b"new x"), opaque("d"), file("d/s/n", b"n")],
    ),
    case("opaque-and-whiteout", LOWER, [directory("d"), opaque("d"), whiteout("d/x"), file("d/y", b"new y")]),
    case("opaque-of-nothing", LOWER, [directory("e"), opaque("e"), file("e/z", b"z")]),
    case("opaque-lowest-first", [directory("d"), opaque("d"), file("d/x", b"x")]),
    case("opaque-lowest-last", [directory("d"), file("d/x", b"x"), opaque("d")]),
    case(
        "opaque-middle",
        LOWER,
        [directory("d"), opaque("d"), file("d/z", b"z")],
        [directory("d"), file("d/x", b"top x")],
    ),
    case(
        "opaque-top-of-three",
        LOWER,
        [directory("d"), file("d/z", b"z")],
        [directory("d", 0o711), opaque("d"), file("d/w", b"w")],
    ),
    case("opaque-nested", LOWER, [directory("d"), directory("d/s"), opaque("d/s"), file("d/s/n", b"n")]),
    case(
        "opaque-inside-opaque",
        LOWER,
        [directory("d"), opaque("d"), directory("d/s"), opaque("d/s"), file("d/s/n", b"n")],
    ),
    case("opaque-parent-of-listed", LOWER, [opaque("d"), directory("d/s", 0o711)]),
    case("opaque-of-file", [file("d", b"a file")], [directory("d"), opaque("d"), file("d/z", b"z")]),
    case(
        "opaque-of-symlink",
        [symlink("d", "e"), directory("e"), file("e/x", b"x")],
        [directory("d"), opaque("d"), file("d/z", b"z")],
    ),
    case(
        "opaque-then-whiteout-above",
        LOWER,
        [directory("d"), opaque("d"), file("d/z", b"z")],
        [whiteout("d")],
    ),
)

REPLACED: tuple[Case, ...] = (
    case("file-to-file", LOWER, [directory("d"), file("d/x", b"longer content", mode=0o4711, uid=9)]),
    case("file-to-directory", [file("a", b"a")], [directory("a"), file("a/b", b"b")]),
    case("file-to-directory-implicit", [file("a", b"a")], [file("a/b", b"b")]),
    case("directory-to-file", LOWER, [file("d", b"file")]),
    case(
        "directory-to-file-and-back", LOWER, [file("d", b"file")], [directory("d", 0o711), file("d/z", b"z")]
    ),
    case("directory-to-file-and-back-implicit", LOWER, [file("d", b"file")], [file("d/z", b"z")]),
    case(
        "file-to-directory-and-back",
        [file("a", b"a")],
        [directory("a"), file("a/b", b"b")],
        [file("a", b"again")],
    ),
    case("directory-to-symlink", [*LOWER, directory("e"), file("e/f", b"f")], [symlink("d", "e")]),
    case(
        "symlink-to-directory",
        [symlink("d", "e"), directory("e"), file("e/f", b"f")],
        [directory("d"), file("d/g", b"g")],
    ),
    case(
        "symlink-lower-entry-below",
        [symlink("d", "e"), directory("e"), file("e/f", b"f")],
        [file("d/g", b"g")],
    ),
    case("symlink-own-entry-below", [symlink("d", "e"), directory("e"), file("d/g", b"g")]),
    case(
        "symlink-own-absolute-entry-below",
        [symlink("d", "/symlink-own-absolute-entry-below/e"), directory("e"), file("d/g", b"g")],
    ),
    case("symlink-own-dangling-entry-below", [symlink("d", "e"), file("d/g", b"g")]),
    case(
        "symlink-own-whiteout-below",
        [directory("e"), file("e/f", b"f")],
        [symlink("d", "e"), whiteout("d/f")],
    ),
    case(
        "symlink-over-directory-entry-below",
        [directory("d"), directory("e")],
        [symlink("d", "e"), file("d/g", b"g")],
    ),
    case("symlink-to-self-directory-relisted", [symlink("d", "e"), directory("e"), directory("d", 0o700)]),
    case(
        "directory-metadata-only",
        LOWER,
        [directory("d", 0o3777, uid=7, gid=8, mtime=1000, xattrs={b"user.a": b"1"})],
    ),
    case(
        "directory-metadata-kept",
        [directory("d", 0o1777, uid=7, gid=8, mtime=1000, xattrs={b"user.a": b"1"})],
        [file("d/z", b"z")],
    ),
    case(
        "directory-metadata-kept-deep",
        [directory("d", 0o1777, uid=7), directory("d/e", 0o2750, gid=4), file("d/e/f")],
        [file("d/e/n/z", b"z")],
        [file("d/e/n/w", b"w")],
    ),
    case(
        "directory-metadata-dropped",
        [directory("d", xattrs={b"user.a": b"1", b"user.b": b"2"})],
        [directory("d", xattrs={b"user.b": b"3"})],
    ),
    case("file-metadata-dropped", [file("a", b"a", xattrs={b"user.a": b"1"})], [file("a", b"a", mode=0o600)]),
    case("device-to-file", [Entry(b"n", CHAR, device=(1, 3))], [file("n", b"n")]),
)
