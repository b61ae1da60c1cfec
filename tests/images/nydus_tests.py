"""The layers that the tests of nydus itself use, made anew from what is in them.

Source: dragonflyoss/nydus at 34e6071e, `tests/texture/tar`, `tests/texture/zran` and
`smoke/tests/texture/layer.go`. Names, types, links, owners and attributes are as there; content is not.
"""

from __future__ import annotations

import random

from tests.images.odd.case import Case, case
from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    FIFO,
    Entry,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    whiteout,
)

_CAPABILITY = {b"security.capability": bytes.fromhex("0100000200200000000000000000000000000000")}
_TEXT = b"fifteen bytes.\n"
_LONG = "test-\U0001f609-name." * 16


def _macos(name: str, entry: Entry, attribute: bytes) -> list[Entry]:
    """An entry as bsdtar on macOS writes it: a file of Finder's data first, an attribute in two spellings."""
    path, slash, base = name.rpartition("/")
    finder = file(f"{path}{slash}._{base}", bytes(149), uid=502, gid=20)
    records = {b"mtime": b"1665584430.393557573", b"LIBARCHIVE.xattr." + attribute: b"dmFsdWU"}
    fields = {"uid": 502, "gid": 20, "records": records, "xattrs": {attribute: b"value"}}
    return [finder, Entry(**{**vars(entry), **fields})]


def _smoke_files() -> list[Entry]:
    source = random.Random(13)
    return [
        file("large-blob.bin", source.randbytes(300_000)),
        file("file-hole-1", b"hello world" + bytes(1024 * 200) + b"hello world"),
        file("empty.txt"),
    ]


NYDUS_TESTS: tuple[Case, ...] = (
    case(
        "nydus-all-entry-type",
        [
            directory("tar"),
            directory("tar/dir1"),
            directory("tar/dir1/dir3"),
            file("tar/dir1/dir3/hardlink1.txt", _TEXT),
            hardlink("tar/dir1/dir3/xfile.txt", "tar/dir1/dir3/hardlink1.txt"),
            hardlink("tar/dir1/hardlink2.txt", "tar/dir1/dir3/hardlink1.txt"),
            directory("tar/dir2"),
            hardlink("tar/dir2/hardlink3.txt", "tar/dir1/dir3/hardlink1.txt"),
            symlink("tar/dir2/symlink1.txt", "../dir1/dir3/file1.txt"),
        ],
    ),
    case(
        "nydus-all-entry-type-macos",
        [
            directory("tar", uid=502, gid=20),
            directory("tar/dir2", uid=502, gid=20),
            directory("tar/dir1", uid=502, gid=20),
            *_macos("tar/dir1/hardlink2.txt", file("tar/dir1/hardlink2.txt", _TEXT), b"hardlink3"),
            *_macos("tar/dir1/dir3", directory("tar/dir1/dir3"), b"dir"),
            *_macos(
                "tar/dir1/dir3/xfile.txt",
                hardlink("tar/dir1/dir3/xfile.txt", "tar/dir1/hardlink2.txt"),
                b"hardlink3",
            ),
            file(f"tar/dir1/dir3/{'this_is_really_a_very_long_name_to_test'.ljust(251, 'a')}.txt", b"long"),
            *_macos(
                "tar/dir2/hardlink3.txt",
                hardlink("tar/dir2/hardlink3.txt", "tar/dir1/hardlink2.txt"),
                b"hardlink3",
            ),
            *_macos(
                "tar/dir2/symlink1.txt",
                symlink("tar/dir2/symlink1.txt", "../dir1/dir3/file1.txt"),
                b"symlink",
            ),
        ],
    ),
    case(
        "nydus-smoke-lower-and-upper",
        [
            file("file-1", b"file-1"),
            file("file-2", b"file-2"),
            directory("dir-1"),
            directory("dir-2"),
            directory("dir-2/dir-1"),
            file("dir-2/file-1", b"dir-2/file-1"),
            file("dir-1/file-1", b"dir-1/file-1"),
            hardlink("dir-1/file-1-hardlink-1", "dir-1/file-1"),
            hardlink("dir-1/file-1-hardlink-2", "dir-1/file-1"),
            symlink("dir-1/file-1-symlink-1", "dir-1/file-1"),
            symlink("dir-1/file-1-symlink-2", "dir-1/file-1"),
            Entry(b"char-1", CHAR, mode=0o600, device=(255, 0)),
            Entry(b"block-1", BLOCK_DEVICE, mode=0o600, device=(255, 0)),
            Entry(b"fifo-1", FIFO, mode=0o600),
            file("\u5510\u8bd7\u4e09\u767e\u9996", b"This is poetry"),
            file(_LONG, b"My name is long"),
            symlink("dir-1/file-deleted-symlink", "dir-1/file-deleted"),
            *_smoke_files(),
            file("dir-1/file-2", b"dir-1/file-2", xattrs=_CAPABILITY),
        ],
        [
            directory("dir-1"),
            file("dir-1/file-1", b"dir-1/upper-file-1"),
            whiteout("dir-1/file-2"),
            directory("dir-2"),
            opaque("dir-2"),
            file("dir-2/file-1", b"dir-2/upper-file-1", xattrs=_CAPABILITY),
        ],
    ),
    case(
        "nydus-smoke-chunk-dict",
        [
            *(file(f"chunk-dict-file-{n}", b"content %d" % n) for n in range(1, 8)),
            *_smoke_files(),
            file("chunk-dict-file-10"),
        ],
    ),
    case("nydus-zran-zero-file", [file("zero.bin", bytes(262_144))]),
)
