"""What concerns the root of the image, so that each case needs an image of its own."""

from __future__ import annotations

from tests.images.odd.case import Case, case
from tests.images.tar import Entry, directory, file, hardlink, opaque, symlink, whiteout

LOWER = (
    directory("./", 0o711, uid=1, gid=2, mtime=1000, xattrs={b"user.root": b"1"}),
    directory("d", 0o700),
    file("d/x", b"x"),
    file("top", b"top"),
)

ROOTS: tuple[Case, ...] = (
    case("root-unlisted", [file("a", b"a")]),
    case("root-listed", LOWER),
    case("root-listed-by-dot", [directory(".", 0o711, mtime=1000), file("a", b"a")]),
    case("root-listed-by-slash", [directory("/", 0o711, mtime=1000), file("a", b"a")]),
    case("root-listed-last", [file("a", b"a"), directory("./", 0o711, uid=3, mtime=1000)]),
    case("root-kept-by-upper", LOWER, [file("b", b"b")]),
    case("root-kept-by-two", LOWER, [file("b", b"b")], [file("d/c", b"c")]),
    case("root-replaced-by-upper", LOWER, [directory("./", 0o755, mtime=2000), file("b", b"b")]),
    case("root-listed-in-upper-only", [file("a", b"a")], [directory("./", 0o700, uid=9, mtime=2000)]),
    case("root-whiteout", LOWER, [whiteout("top"), whiteout("d")]),
    case("root-opaque", LOWER, [Entry(b".wh..wh..opq"), file("new", b"new")]),
    case("root-opaque-listed", LOWER, [directory("./", 0o750, mtime=3000), opaque("."), file("new", b"new")]),
    case("root-opaque-last", LOWER, [file("new", b"new"), Entry(b".wh..wh..opq")]),
    case("root-as-symlink", LOWER, [symlink("./", "d")]),
    case("path-absolute", [file("/etc/a", b"a")]),
    case("path-absolute-directory", [directory("/d/")]),
    case("path-absolute-hardlink-target", [file("etc/a", b"a"), hardlink("b", "/etc/a")]),
    case("path-dotdot", [file("../a", b"a")]),
    case("path-dotdot-deep", [file("x/../../b", b"b")]),
    case("path-dotdot-alone", [directory("..")]),
    case("path-dotdot-whiteout", LOWER, [whiteout("d/../top")]),
    case("path-dotdot-hardlink", [file("a", b"a"), hardlink("b", "../../a")]),
    case("path-empty", [Entry(b"", content=b"no name"), file("a", b"a")]),
    case("layer-empty", [], [file("a", b"a")], []),
    case("layer-all-empty", []),
    case("layer-repeated", LOWER, [file("d/x", b"middle"), whiteout("top")], LOWER),
    case("layer-repeated-in-a-row", LOWER, LOWER),
    case("layer-of-whiteouts", LOWER, [whiteout("top"), whiteout("d")]),
    case("layers-many", *([file(f"d{n}/f", b"%d" % n), file("same", b"%d" % n)] for n in range(127))),
)
