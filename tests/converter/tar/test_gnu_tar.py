"""Archives of the real GNU tar, in every form it writes sparse files, long names, numbers and attributes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from converter.options import ConvertOptions
from tests.converter.layers import contents, convert, paths

LONG = "n" * 200
FORMS = {
    "gnu": ["--format=gnu"],
    "gnu-sparse": ["--format=gnu", "--sparse"],
    "oldgnu-sparse": ["--format=oldgnu", "--sparse"],
    "posix": ["--format=posix"],
    "posix-sparse-0.0": ["--format=posix", "--sparse-version=0.0"],
    "posix-sparse-0.1": ["--format=posix", "--sparse-version=0.1"],
    "posix-sparse-1.0": ["--format=posix", "--sparse-version=1.0"],
    "posix-global": ["--format=posix", "--pax-option=globexthdr.name=g,comment=a comment"],
    "posix-xattrs": ["--format=posix", "--xattrs", "--xattrs-include=user.*"],
    "ustar": ["--format=ustar"],
    "v7": ["--format=v7"],
}
_SHORT_NAMES_ONLY = {"ustar": 100, "v7": 97}
_SECOND_NS = 10**9


def write_tree(root: Path, form: str) -> dict[bytes, bytes]:
    """A tree with what the forms differ in; returns the content of its files by path."""
    limit = _SHORT_NAMES_ONLY.get(form, 200)
    files = {
        "plain": b"content" * 1000,
        LONG[:limit]: b"a long name",
        "hole-first": bytes(1 << 20) + b"end",
        "hole-last": b"start" + bytes(3 << 20),
        "holes": (b"x" * 4096 + bytes(60 << 10)) * 40,
        "only-a-hole": bytes(2 << 20),
        "empty": b"",
    }
    root.mkdir()
    for name, content in files.items():
        with (root / name).open("wb") as out:
            for start in range(0, len(content), 4096):
                block = content[start : start + 4096]
                if any(block):
                    os.pwrite(out.fileno(), block, start)
            out.truncate(len(content))
        os.utime(root / name, ns=(0, 1_600_000_000 * _SECOND_NS + 123_456_789))
    (root / "link").symlink_to("t" * limit)
    os.link(root / "plain", root / "hard")
    if form == "posix-xattrs":
        os.setxattr(root / "plain", "user.key", b"a\0value\n")
    return {name.encode(): content for name, content in files.items()} | {b"hard": files["plain"]}


@pytest.mark.parametrize("form", FORMS)
def test_what_gnu_tar_writes_is_read(form: str, tmp_path: Path) -> None:
    expected = write_tree(tmp_path / "tree", form)
    archive = tmp_path / "layer.tar"
    sparse = ["--sparse"] if "sparse" in form or form == "posix-global" else []
    command = ["tar", "--create", f"--file={archive}", f"--directory={tmp_path}/tree", "--sort=name"]
    subprocess.run([*command, *FORMS[form], *sparse, "."], check=True)
    layer = convert(archive.read_bytes(), tmp_path, ConvertOptions(chunk_size=1 << 16))
    assert contents(layer) == expected
    found, tree = paths(layer.tree), layer.tree
    assert tree.symlink_target[found[b"link"]] == b"t" * _SHORT_NAMES_ONLY.get(form, 200)
    assert found[b"hard"] == found[b"plain"]
    nanoseconds = 123_456_789 if form.startswith("posix") else 0
    assert (tree.mtime_s[found[b"empty"]], tree.mtime_ns[found[b"empty"]]) == (1_600_000_000, nanoseconds)
    if form == "posix-xattrs":
        assert dict(tree.xattrs[found[b"plain"]]) == {b"user.key": b"a\0value\n"}
