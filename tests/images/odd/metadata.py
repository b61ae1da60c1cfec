"""Modes, owners, times, extended attributes, devices, and directories that no layer lists."""

from __future__ import annotations

import struct

from tests.images.odd.case import Case, case
from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    FIFO,
    PAX_GLOBAL,
    Entry,
    directory,
    file,
    hardlink,
    pax_records,
    symlink,
)

_CAPABILITY = struct.pack(
    "<IIIII", 0x02000001, 1 << 10, 0, 0, 0
)  # VFS_CAP_REVISION_2, effective; CAP_NET_BIND_SERVICE


def _acl(*entries: tuple[int, int, int]) -> bytes:
    """`posix_acl_xattr` version 2: (tag, permissions, id) triples (Linux uapi/linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


_NO_ID = 0xFFFFFFFF
_ACL = _acl((1, 6, _NO_ID), (2, 4, 1000), (4, 4, _NO_ID), (16, 4, _NO_ID), (32, 0, _NO_ID))
_DEFAULT_ACL = _acl((1, 7, _NO_ID), (2, 5, 1000), (4, 5, _NO_ID), (16, 5, _NO_ID), (32, 0, _NO_ID))

MODES: tuple[Case, ...] = (
    case(
        "mode-special",
        [
            file("setuid", mode=0o4755),
            file("setgid", mode=0o2755),
            file("sticky", mode=0o1644),
            file("all", mode=0o7777),
            file("none", mode=0),
        ],
    ),
    case(
        "mode-special-directory",
        [directory("tmp", 0o1777), directory("setgid", 0o2775), directory("none", 0)],
    ),
    case(
        "mode-special-owned",
        [file("setuid", b"x", mode=0o6755, uid=1000, gid=1000), directory("d", 0o3770, uid=1, gid=2)],
    ),
    case(
        "mode-setgid-inherited",
        [directory("d", 0o2775, gid=50), directory("d/e"), file("d/f"), file("d/g/h")],
    ),
    case("mode-with-type-bits", [file("a", mode=0o100640), directory("d", 0o040750)]),
    case(
        "owner-large",
        [
            file("pax", uid=2**21, gid=2**21 + 1),
            file("gnu", uid=2**31, gid=2**32 - 2, form="gnu"),
            file("max", uid=65534, gid=65535),
        ],
    ),
    case("owner-by-records", [file("a", uid=1, gid=2, records={b"uid": b"3000000", b"gid": b"7"})]),
    case("owner-over-32-bits", [file("a", uid=2**32 + 5, form="gnu")]),
)

TIMES: tuple[Case, ...] = (
    case("mtime-zero", [file("a", mtime=0), directory("d", mtime=0), symlink("l", "a", mtime=0)]),
    case("mtime-negative-gnu", [file("a", mtime=-86400, form="gnu"), directory("d", mtime=-1, form="gnu")]),
    case("mtime-negative-pax", [file("a", mtime=-86400), symlink("l", "a", mtime=-3)]),
    case(
        "mtime-fraction",
        [
            file("a", records={b"mtime": b"1577836800.987654321"}),
            directory("d", records={b"mtime": b"1000000000.5"}),
        ],
    ),
    case(
        "mtime-fraction-negative",
        [file("a", records={b"mtime": b"-1.5"}), file("b", records={b"mtime": b"-0.25"})],
    ),
    case(
        "mtime-fraction-long",
        [
            file("a", records={b"mtime": b"1577836800.98765432198765"}),
            symlink("l", "a", records={b"mtime": b"1577836801.000000001"}),
        ],
    ),
    case(
        "mtime-after-2038",
        [file("a", mtime=2**31), file("b", mtime=2**32 + 17), directory("d", mtime=2**33 - 2)],
    ),
    case("mtime-after-ext4", [file("a", mtime=2**35)]),
    case("mtime-record-empty", [file("a", records={b"mtime": b""})]),
    case("mtime-record-broken", [file("a", records={b"mtime": b"soon"})]),
    case(
        "mtime-directory-children-later",
        [directory("d", mtime=1000), file("d/a"), directory("d/e", mtime=2000), file("d/e/f")],
    ),
    case(
        "mtime-directory-listed-last",
        [file("d/e/f", b"f"), directory("d/e", mtime=2000), directory("d", mtime=1000)],
    ),
    case("atime-ctime", [file("a", records={b"atime": b"5.5", b"ctime": b"7"})]),
)

XATTRS: tuple[Case, ...] = (
    case(
        "xattr-plain",
        [
            file("a", b"a", xattrs={b"user.z": b"1", b"user.a": b"2", b"trusted.t": b"3"}),
            directory("d", xattrs={b"user.d": b"4"}),
        ],
    ),
    case(
        "xattr-capability", [file("ping", b"elf", mode=0o755, xattrs={b"security.capability": _CAPABILITY})]
    ),
    case(
        "xattr-capability-owned",
        [file("ping", b"elf", mode=0o755, uid=5, gid=6, xattrs={b"security.capability": _CAPABILITY})],
    ),
    case(
        "xattr-security-other",
        [
            file("a", xattrs={b"security.ima": b"\x01\x02"}),
            file("b", xattrs={b"security.selinux": b"system_u:object_r:x_t:s0\0"}),
        ],
    ),
    case("xattr-acl", [file("a", mode=0o640, xattrs={b"system.posix_acl_access": _ACL})]),
    case(
        "xattr-acl-default",
        [
            directory("d", 0o750, xattrs={b"system.posix_acl_default": _DEFAULT_ACL}),
            file("d/a"),
            directory("d/e"),
            file("d/i/j"),
        ],
    ),
    case(
        "xattr-acl-records",
        [
            file(
                "a",
                mode=0o640,
                records={b"SCHILY.acl.access": b"user::rw-,user:1000:r--,group::r--,mask::r--,other::---"},
            )
        ],
    ),
    case(
        "xattr-binary",
        [file("a", xattrs={b"user.nul": b"a\0b\xff", b"user.empty": b"", b"user.equals=sign": b"v=w"})],
    ),
    case("xattr-name-not-utf8", [file("a", xattrs={b"user.\xff": b"1"})]),
    case("xattr-name-long", [file("a", xattrs={b"user." + b"n" * 250: b"1"})]),
    case("xattr-name-too-long", [file("a", xattrs={b"user." + b"n" * 251: b"1"})]),
    case(
        "xattr-over-a-block",
        [
            file("a", b"a", xattrs={b"user.big": bytes(range(256)) * 20}),
            directory("d", xattrs={b"user.big": b"d" * 6000}),
            file("d/x", b"x"),
        ],
    ),
    case("xattr-many", [file("a", b"a", xattrs={b"user.%03d" % n: b"v" * n for n in range(100)})]),
    case(
        "xattr-many-files", [file(f"f{n}", b"f" * n, xattrs={b"user.n": b"v" * n}) for n in range(0, 400, 7)]
    ),
    case("xattr-largest", [file("a", xattrs={b"user.big": b"v" * 65535})]),
    case(
        "xattr-on-fifo",
        [
            Entry(b"p", FIFO, xattrs={b"trusted.a": b"1"}),
            Entry(b"c", CHAR, device=(1, 5), xattrs={b"trusted.b": b"1"}),
        ],
    ),
    case(
        "xattr-security-on-others",
        [
            Entry(b"p", FIFO, xattrs={b"security.a": b"1"}),
            symlink("l", "p", xattrs={b"security.b": b"2"}),
            Entry(b"c", CHAR, device=(1, 5), xattrs={b"security.c": b"3"}),
        ],
    ),
    case("xattr-user-on-fifo", [Entry(b"p", FIFO, xattrs={b"user.a": b"1"})]),
    case("xattr-libarchive", [file("a", records={b"LIBARCHIVE.xattr.user.l": b"dmFsdWU="})]),
    case("xattr-unknown-prefix", [file("a", b"a", xattrs={b"foo.bar": b"1"})]),
    case("xattr-nfs4-acl", [file("a", b"a", xattrs={b"system.nfs4_acl": b"1"})]),
    case("xattr-overlay-user", [file("a", b"a", xattrs={b"user.overlay.redirect": b"1"})]),
    case("xattr-overlay-trusted", [file("a", b"a", xattrs={b"trusted.overlay.origin": b"1"})]),
    case(
        "xattr-hardlinked",
        [file("a", b"a", xattrs={b"user.a": b"1"}), hardlink("b", "a", xattrs={b"user.a": b"1"})],
    ),
)

DEVICES: tuple[Case, ...] = (
    case(
        "device-kinds",
        [
            Entry(b"null", CHAR, device=(1, 3), mode=0o666),
            Entry(b"sda1", BLOCK_DEVICE, device=(8, 1), mode=0o660, gid=6),
            Entry(b"pipe", FIFO, mode=0o622),
        ],
    ),
    case(
        "device-large-numbers",
        [
            Entry(b"minor", CHAR, device=(10, 300)),
            Entry(b"major", BLOCK_DEVICE, device=(4095, 1)),
            Entry(b"both", BLOCK_DEVICE, device=(259, 2**20 - 1)),
        ],
    ),
    case("device-zero-block", [Entry(b"b", BLOCK_DEVICE, device=(0, 0))]),
    case("device-with-content", [Entry(b"c", CHAR, b"content", device=(1, 3)), file("after", b"after")]),
    case("type-nul", [Entry(b"a", b"\0", b"old regular file")]),
    case("type-nul-slash", [Entry(b"d/", b"\0")]),
    case("type-contiguous", [Entry(b"a", b"7", b"contiguous")]),
    case("type-unknown", [Entry(b"a", b"Z", b"unknown"), file("after", b"after")]),
    case("type-solaris-socket", [Entry(b"s", b"s")]),
    case("type-directory-with-content", [Entry(b"d", b"5", b"content", mode=0o755), file("d/a", b"a")]),
    case(
        "global-header",
        [Entry(b"pax_global_header", PAX_GLOBAL, pax_records({b"comment": b"a commit"})), file("a", b"a")],
    ),
    case(
        "global-header-with-mtime",
        [
            Entry(b"pax_global_header", PAX_GLOBAL, pax_records({b"mtime": b"1000", b"uid": b"77"})),
            file("a", b"a"),
        ],
    ),
)

IMPLICIT: tuple[Case, ...] = (
    case("implicit-parents", [file("p/q/r", b"r", mode=0o600, uid=5, gid=6)]),
    case("implicit-then-listed", [file("p/q/r", b"r"), directory("p", 0o700, uid=9, mtime=500)]),
    case("implicit-in-upper-only", [file("a")], [file("p/q/r", b"r")]),
    case(
        "implicit-over-explicit",
        [
            directory("p", 0o711, uid=5, gid=6, mtime=1000),
            directory("p/q", 0o2700, mtime=2000),
            file("p/q/a", b"a"),
        ],
        [file("p/q/b", b"b")],
    ),
    case(
        "explicit-over-implicit",
        [file("p/q/a", b"a")],
        [directory("p", 0o700), directory("p/q", 0o711, mtime=2000)],
    ),
    case(
        "implicit-three-layers",
        [directory("p", 0o711, mtime=1000)],
        [file("p/q/b", b"b")],
        [directory("p/q", 0o700, uid=8), file("p/q/c", b"c")],
        [file("p/q/d", b"d")],
    ),
    case(
        "unsorted-without-parents",
        [
            directory("usr", 0o755, mtime=1000),
            directory("usr/lib", 0o711, uid=2, mtime=2000),
            directory("usr/share", 0o750, mtime=3000),
            file("usr/lib/libc.so", b"libc"),
            file("usr/share/doc", b"doc"),
            directory("var"),
            directory("var/tmp", 0o1777),
        ],
        [
            file("var/tmp/z", b"z"),
            file("usr/share/a", b"a"),
            file("usr/lib/z.so", b"z"),
            symlink("usr/lib/a.so", "z.so"),
            file("usr/bin/tool", b"tool", mode=0o755),
            file("usr/lib/m/n/o", b"o"),
            hardlink("usr/bin/tool2", "usr/bin/tool"),
            file("usr/lib/b.so", b"b"),
        ],
    ),
)

ACCIDENTS: tuple[Case, ...] = (
    case("accident-time-of-replaced", [directory("a", mtime=1000), file("a", b"file", mtime=2000)]),
    case("accident-opaque-lowest", [directory("c"), symlink("c/c/l", "x"), Entry(b"c/.wh..wh..opq")]),
    case(
        "accident-xattrs-stay",
        [directory("d", xattrs={b"user.a": b"1"})],
        [file("d/x"), directory("d", xattrs={b"user.b": b"2"})],
    ),
    case(
        "accident-metadata-of-target",
        [symlink("c", "e"), directory("e", 0o1777, uid=3)],
        [file("c/g")],
    ),
    case(
        "accident-metadata-of-hidden",
        [directory("p"), directory("p/q", 0o700, uid=5)],
        [directory("p"), Entry(b"p/.wh..wh..opq")],
        [file("p/q/x")],
    ),
)
