"""Unpacking: the tree on disk is the tree of the image; what a user may not do is told."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from converter.errors import BlobError
from converter.nydus_image import NydusImage
from converter.options import ConvertOptions
from converter.unpack import UnpackError, UnpackReport, unpack
from tests.converter.layers import paths
from tests.converter.memory_files import nydus_files
from tests.images.layout import Image, build_image
from tests.images.odd import CASES, REFUSED, odd_image
from tests.images.tar import Entry, directory, encode_tar, file, hardlink, symlink
from tests.trees import snapshot

LARGE = ("xattr-over-a-block", "xattr-many", "xattr-largest")
SMALL = build_image(
    [
        encode_tar(
            [
                directory("./", 0o755, mtime=5), directory("closed", 0o500, mtime=1000),
                file("closed/f", b"f" * 5000 + bytes(9000) + b"g", mtime=2000), hardlink("again", "closed/f"),
                file("setuid", b"x", mode=0o4755, uid=1000, gid=1000),
                symlink("out", "/etc"), symlink("dangling", "nowhere"), Entry(b"pipe", b"6", mode=0o600),
                Entry(b"null", b"3", device=(1, 3), mode=0o666), file("holes", bytes(5 << 20)),
                file("attributes", b"", xattrs={b"user.a": b"1", b"security.x": b"2"}),
                file(b"not-utf8-\xff", b"1", records={b"mtime": b"1700000000.123456789"}),
            ]
        )
    ]
)  # fmt: skip


def unpacked(image: Image, work: Path, target: Path, chunk_size: int = 1 << 20) -> UnpackReport:
    files, manifest = nydus_files(image, work / "work", ConvertOptions(threads=1, chunk_size=chunk_size))
    with NydusImage(files, manifest) as nydus:
        return unpack(nydus, target)


@pytest.mark.root
def test_root_gets_the_tree_of_the_image_to_the_last_attribute(tmp_path: Path) -> None:
    # Attributes of these are too large for ext4.
    cases = [case for case in CASES if case.name not in {*REFUSED, *LARGE}]
    image = odd_image(cases)
    files, manifest = nydus_files(image, tmp_path / "work", ConvertOptions(threads=1, chunk_size=4096))
    with NydusImage(files, manifest) as nydus:
        report = unpack(nydus, tmp_path / "out")
        tree = nydus.bootstrap.tree
    assert report.left_out == {}
    shown = snapshot(tmp_path / "out")
    known = paths(tree)
    assert shown.keys() == known.keys() | {b"."}
    for path, inode in {**known, b".": tree.ROOT}.items():
        node = shown[path]
        assert (node.mode, node.uid, node.gid) == (
            stat.S_IMODE(tree.mode[inode]), tree.uid[inode], tree.gid[inode],
        ), path  # fmt: skip
        status = os.lstat(os.path.join(os.fsencode(tmp_path / "out"), path))
        assert status.st_mtime_ns == tree.mtime_s[inode] * 10**9 + tree.mtime_ns[inode], path
        assert stat.S_IFMT(status.st_mode) == stat.S_IFMT(tree.mode[inode]), path
        assert tuple((os.fsencode(name), value) for name, value in node.xattrs) == tree.xattrs.get(
            inode, ()
        ), path
        assert node.target == tree.symlink_target.get(inode, b""), path
        names = [name for name, other in known.items() if other == inode]
        assert node.group == (min(names) if len(names) > 1 else b""), path


def test_the_content_and_the_links_are_right(tmp_path: Path) -> None:
    report = unpacked(SMALL, tmp_path, tmp_path / "out", 4096)
    out = tmp_path / "out"
    assert (out / "closed/f").read_bytes() == b"f" * 5000 + bytes(9000) + b"g"
    assert (out / "again").stat().st_ino == (out / "closed/f").stat().st_ino
    assert (out / "out").readlink() == Path("/etc")
    assert (out / "holes").stat().st_size == 5 << 20
    assert (out / "holes").stat().st_blocks == 0
    assert (out / "closed").stat().st_mtime == 1000
    assert stat.S_IMODE((out / "closed").stat().st_mode) == 0o500
    assert report.file_bytes == 14001 + 1 + (5 << 20) + 1


PROGRAM = """
import os, sys
from pathlib import Path
from tests.converter.test_unpack import SMALL, unpacked
os.setgroups([]); os.setgid(65534); os.setuid(65534); os.umask(0o077)
work = Path(sys.argv[1])
report = unpacked(SMALL, work, work / "out")
print(sorted(report.left_out.items()), report.names, report.examples["owners"])
"""


@pytest.mark.root
def test_a_user_gets_what_a_user_may_have(tmp_path: Path) -> None:
    """Run as root, who can become a user for that."""
    work = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        work.chmod(0o777)
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(work)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        left_out = [("attributes security.*", 1), ("device nodes", 1), ("owners", 10), ("set-id bits", 1)]
        assert done.stdout.startswith(f"{left_out} 10 ['again', 'attributes', 'closed'"), done.stdout
        assert stat.S_IMODE((work / "out/setuid").stat().st_mode) == 0o755
        assert os.getxattr(work / "out/attributes", "user.a") == b"1"
    finally:
        subprocess.run(["rm", "-rf", str(work)], check=True)


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(UnpackError, match="not empty"):
        unpacked(SMALL, tmp_path, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_damaged_content_is_not_written(tmp_path: Path) -> None:
    files, manifest = nydus_files(SMALL, tmp_path / "work")
    digest = manifest.layers[0].digest
    files.blobs[digest] = bytes(100) + files.blobs[digest][100:]
    with NydusImage(files, manifest) as nydus, pytest.raises(BlobError):
        unpack(nydus, tmp_path / "out")
