"""A table of changes to the metadata of a conversion, each sealed again, and what the check says of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from converter.check import CheckReport, check_image
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from converter.tree import FileTree, device_number
from tests.converter.check.sealing import Parts, blob_infos, seal, take_apart, write_again
from tests.images.layout import build_image
from tests.images.tar import Entry, directory, encode_tar, file, hardlink, symlink

CAPABLE = {b"user.a": b"1", b"security.capability": b"\1\2"}
SOURCE = build_image(
    [
        encode_tar(
            [
                directory("d", 0o750, xattrs={b"user.dir": b"x"}), directory("empty"),
                file("d/setuid", b"program", mode=0o4755, uid=7, gid=8),
                file("d/two", b"a" * 4096 + b"b" * 4096, xattrs=CAPABLE),
                file("other", b"other"), file("no", b""),
                hardlink("again", "d/two"), symlink("link", "d/two"),
                Entry(b"null", b"3", device=(1, 3)), Entry(b"pipe", b"6"),
            ]
        ),
        encode_tar([file("upper", b"upper", records={b"mtime": b"1700000000.5"})]),
    ]
)  # fmt: skip


@dataclass
class Image:
    """What a change may change: the merged tree of the conversion, or its parts."""

    tree: FileTree
    parts: Parts

    def find(self, path: bytes) -> int:
        inode: int | None = self.tree.ROOT
        for name in path.split(b"/"):
            assert inode is not None
            inode = self.tree.lookup(inode, name) if name else inode
        assert inode is not None
        return inode

    def config(self, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
        document = json.loads(self.parts.config)
        change(document)
        self.parts.config = json.dumps(document, separators=(",", ":")).encode()


def put(column: str, path: bytes, value: int) -> Callable[[Image], None]:
    def change(image: Image) -> None:
        getattr(image.tree, column)[image.find(path)] = value

    return change


def chmod(path: bytes, bits: int) -> Callable[[Image], None]:
    def change(image: Image) -> None:
        image.tree.mode[image.find(path)] ^= bits

    return change


def new_file(image: Image) -> int:
    return image.tree.add_inode(mode=stat.S_IFREG | 0o644)


def copy_of(image: Image, inode: int) -> int:
    tree = image.tree
    copy = tree.add_inode(
        mode=tree.mode[inode], uid=tree.uid[inode], gid=tree.gid[inode], mtime_s=tree.mtime_s[inode],
        mtime_ns=tree.mtime_ns[inode], size=tree.size[inode], rdev=tree.rdev[inode],
    )  # fmt: skip
    if inode in tree.xattrs:
        tree.xattrs[copy] = tree.xattrs[inode]
    tree.set_chunks(copy, tree.first_chunk[inode], tree.chunk_count[inode])
    return copy


def rename(image: Image) -> None:
    image.tree.link(image.tree.ROOT, b"othes", image.find(b"other"))
    image.tree.unlink(image.tree.ROOT, b"other")


def move(image: Image) -> None:
    image.tree.link(image.find(b"empty"), b"other", image.find(b"other"))
    image.tree.unlink(image.tree.ROOT, b"other")


def swap_chunks(image: Image) -> None:
    first, refs = image.tree.first_chunk[image.find(b"d/two")], image.tree.chunk_refs
    refs[first], refs[first + 1] = refs[first + 1], refs[first]


def swap_contents(image: Image) -> None:
    one, two = image.find(b"other"), image.find(b"upper")
    first = image.tree.first_chunk
    first[one], first[two] = first[two], first[one]


def truncate(image: Image) -> None:
    inode = image.find(b"other")
    image.tree.size[inode] = image.tree.chunk_count[inode] = 0


def retype(path: bytes, kind: int) -> Callable[[Image], None]:
    return lambda image: image.tree.mode.__setitem__(image.find(path), kind | 0o644)


def file_to_directory(image: Image) -> None:
    image.tree.link(image.tree.ROOT, b"no", image.tree.add_inode(mode=stat.S_IFDIR | 0o755))


def layer(number: int, key: str, value: object) -> Callable[[Image], None]:
    return lambda image: image.parts.manifest["layers"][number].__setitem__(key, value)


SETUID, TWO = "/d/setuid: ", "/d/two: "
CHANGES: dict[str, tuple[Callable[[Image], object], str]] = {
    "permission bits": (chmod(b"other", 0o020), "/other: mode is 0o664, should be 0o644"),
    "setuid bit lost": (chmod(b"d/setuid", 0o4000), SETUID + "mode is 0o755, should be 0o4755"),
    "setgid bit won": (chmod(b"d/setuid", 0o2000), SETUID + "mode is 0o6755, should be 0o4755"),
    "sticky bit of a directory": (chmod(b"empty", 0o1000), "/empty: mode is 0o1755, should be 0o755"),
    "mode of the root": (chmod(b"", 0o022), "/: mode is 0o777, should be 0o755"),
    "owner": (put("uid", b"d/setuid", 0), SETUID + "uid is 0, should be 7"),
    "group": (put("gid", b"d/setuid", 0), SETUID + "gid is 0, should be 8"),
    "owner of a symlink": (put("uid", b"link", 1), "/link: uid is 1, should be 0"),
    "seconds of a time": (
        put("mtime_s", b"other", 1577836801),
        "/other: mtime_s is 1577836801, should be 1577836800",
    ),
    "nanoseconds of a time": (put("mtime_ns", b"upper", 0), "/upper: mtime_ns is 0, should be 500000000"),
    "time of a directory": (put("mtime_s", b"empty", 0), "/empty: mtime_s is 0, should be 1577836800"),
    "time of the root": (put("mtime_s", b"", 1), "/: mtime_s is 1, should be 0"),
    "device number": (put("rdev", b"null", device_number(1, 5)), "/null: rdev is 261, should be 259"),
    "type of a device": (
        retype(b"null", stat.S_IFBLK),
        "/null: is a block device, should be a character device",
    ),
    "type of a pipe": (retype(b"pipe", stat.S_IFSOCK), "/pipe: is a socket, should be a FIFO"),
    "file became a directory": (file_to_directory, "/no: is a directory, should be a file"),
    "target of a symlink": (
        lambda i: i.tree.symlink_target.update({i.find(b"link"): b"d/twp"}),
        "/link: link target is b'd/twp', should be b'd/two'",
    ),
    "name": (rename, "/othes: should not be there (file)"),
    "file in another directory": (move, "/empty/other: should not be there (file)"),
    "file missing": (lambda i: i.tree.unlink(i.find(b"d"), b"setuid"), SETUID + "missing (file)"),
    "empty directory missing": (
        lambda i: i.tree.unlink(i.tree.ROOT, b"empty"),
        "/empty: missing (directory)",
    ),
    "file too many": (
        lambda i: i.tree.link(i.find(b"empty"), b"x", new_file(i)),
        "/empty/x: should not be there (file)",
    ),
    "hardlink became a copy": (
        lambda i: i.tree.link(i.tree.ROOT, b"again", copy_of(i, i.find(b"d/two"))),
        "is not the same file as",
    ),
    "copy became a hardlink": (
        lambda i: i.tree.link(i.tree.ROOT, b"no", i.find(b"other")),
        "is the same file as",
    ),
    "value of an xattr": (
        lambda i: i.tree.xattrs.update({i.find(b"d"): ((b"user.dir", b"y"),)}),
        "/d: xattrs is ((b'user.dir', b'y'),), should be ((b'user.dir', b'x'),)",
    ),
    "name of an xattr": (
        lambda i: i.tree.xattrs.update({i.find(b"d"): ((b"user.dis", b"x"),)}),
        "/d: xattrs is ((b'user.dis',",
    ),
    "xattr missing": (lambda i: i.tree.xattrs.pop(i.find(b"d")), "/d: xattrs is None, should be"),
    "capability missing": (
        lambda i: i.tree.xattrs.update({i.find(b"d/two"): ((b"user.a", b"1"),)}),
        TWO + "xattrs is ((b'user.a', b'1'),), should be ((b'security.capability',",
    ),
    "xattr too many": (
        lambda i: i.tree.xattrs.update({i.find(b"other"): ((b"user.z", b""),)}),
        "/other: xattrs is ((b'user.z',",
    ),
    "order of chunks": (swap_chunks, TWO + "the content of chunk 0 is different"),
    "content of another file": (swap_contents, "/other: the content of chunk 0 is different"),
    "file truncated": (truncate, "/other: size is 0, should be 5"),
    "environment": (
        lambda i: i.config(lambda c: c["config"]["Env"].append("A=b")),
        "config: config.Env is ['PATH=/usr/bin:/bin',",
    ),
    "command": (
        lambda i: i.config(lambda c: c["config"].update(Cmd=["/bin/si"])),
        "config: config.Cmd[0] is '/bin/si', should be '/bin/sh'",
    ),
    "user": (
        lambda i: i.config(lambda c: c["config"].update(User="0")),
        "config: config.User is '0', should be absent",
    ),
    "architecture": (
        lambda i: i.config(lambda c: c.update(architecture="arm64")),
        "config: architecture is 'arm64', should be 'amd64'",
    ),
    "diff id": (
        lambda i: i.config(lambda c: c["rootfs"]["diff_ids"].reverse()),
        "config: rootfs.diff_ids[0] is",
    ),
    "history": (lambda i: i.config(lambda c: c["history"].pop()), "config: history is [], should be"),
    "media type of a blob": (
        layer(0, "mediaType", "application/vnd.oci.image.layer.v1.tar"),
        "manifest: layers[0].mediaType is",
    ),
    "mark of a blob": (layer(0, "annotations", {}), "manifest: layers[0].annotations.containerd.io/snapshot"),
    "subject": (
        lambda i: i.parts.manifest["subject"].update(size=7),
        "manifest: subject.size is 7, should be",
    ),
    "annotation": (
        lambda i: i.parts.manifest["annotations"].update(extra="x"),
        "manifest: annotations.extra is 'x', should be absent",
    ),
    "order of layers": (
        lambda i: i.parts.manifest["layers"].insert(0, i.parts.manifest["layers"].pop(1)),
        "bootstrap in blob",
    ),
    "layer missing": (lambda i: i.parts.manifest["layers"].pop(0), "it has 1 data blobs for 2 layers"),
}


FORMS = {
    "v6": ConvertOptions(chunk_size=4096, threads=1),
    "v5": ConvertOptions(chunk_size=4096, fs_version=5, threads=1),
    "reference": ConvertOptions(chunk_size=4096, oci_ref=True, digester="sha256", threads=1),
}


@pytest.fixture(scope="module", params=FORMS)
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return take_apart(SOURCE, tmp_path_factory.mktemp(request.param), FORMS[request.param])


def changed(intact: Parts, change: Callable[[Image], object], work: Path) -> CheckReport:
    parts = deepcopy(intact)
    bootstrap = read_bootstrap(parts.boot)
    change(Image(bootstrap.tree, parts))
    parts.boot = write_again(parts.boot, blob_infos(parts), bootstrap.tree)
    files, manifest = seal(parts, work)
    return check_image(SOURCE.manifest, SOURCE.config, SOURCE.open_layer, manifest, files)


def test_no_change_is_no_difference(intact: Parts, tmp_path: Path) -> None:
    report = changed(intact, lambda image: None, tmp_path)
    assert report.lines == []
    assert (report.names, report.blobs) == (11, 2)
    assert report.file_bytes == 7 + 8192 + 5 + 5


def test_there_are_more_than_thirty_kinds() -> None:
    assert len(CHANGES) >= 30


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_and_named(name: str, intact: Parts, tmp_path: Path) -> None:
    change, expected = CHANGES[name]
    report = changed(intact, change, tmp_path)
    assert any(expected in line for line in report.lines), report.lines
