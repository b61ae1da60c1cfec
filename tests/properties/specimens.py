"""Trees that nobody thought of, and what must be shown of them.

A specimen is a list of items, parents before children, hardlinks behind their targets. It knows nothing of
tars; `dialects` writes it as one.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import strategies as st

from tests.trees import Node, Tree

MAX_NUMBER = 8**7 - 1  # of an owner that every dialect can write
MAX_TIME = 8**11 - 1
_NAME_BYTES = st.binary(min_size=1, max_size=12).map(
    lambda name: name.replace(b"/", b"_").replace(b"\0", b"-")
)
_NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"c", b"-d", b" ", b"...", b"wh.x", b".whx", b"\xff\xfe", "é".encode(), b"n" * 99]
    ),
    _NAME_BYTES,
    st.sampled_from([b"n" * 101, b"n" * 255, b"a\nb", b"%41", b"\x7f"]),
)
_MODES = st.one_of(st.sampled_from([0o755, 0o644, 0o4711, 0o2755, 0o1777, 0]), st.integers(0, 0o7777))
_OWNERS = st.sampled_from([0, 0, 1, 1000, 65534, MAX_NUMBER, MAX_NUMBER + 1, (1 << 32) - 2])
_TIMES = st.sampled_from(
    [0, 1, 1577836800, (1 << 31) - 1, 1 << 31, 1 << 32, MAX_TIME, MAX_TIME + 1, 9 * 10**9]
)
_FRACTIONS = st.sampled_from([0, 0, 1, 999_999_999, 500_000_000])
_VALUES = st.one_of(
    st.just(b""), st.binary(max_size=20), st.sampled_from([b"v" * 300, b"\0", b"=\n", b"x" * 5000])
)
_XATTRS = st.dictionaries(
    st.sampled_from(
        [b"user.a", b"user.b", b"user.long" + b"g" * 200, b"security.capability", b"security.other"]
    ),
    _VALUES,
    max_size=3,
)
_SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 12289, 65536, 65537, 200_000)


@dataclass(frozen=True)
class Item:
    """One name of a tree.

    Args:
        path: from the root, without a slash in front.
        kind: as `tests.trees.Node` calls it, or "hardlink".
        mode: permission bits.
        uid: owner.
        gid: group.
        mtime_s: whole seconds.
        mtime_ns: the rest.
        content: of a file.
        target: of a symlink; of a hardlink the path of the item that it is another name of.
        device: major and minor number.
        xattrs: by full name.
    """

    path: bytes
    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    mtime_ns: int = 0
    content: bytes = b""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


Specimen = tuple[Item, ...]


def contents() -> st.SearchStrategy[bytes]:
    """Content of files: round the sizes of chunks, alike and not, shrinking and not, with holes and none."""
    return st.builds(_content, st.sampled_from(_SIZES), st.integers(0, 5), st.integers(0, 3))


def _content(size: int, kind: int, seed: int) -> bytes:
    if kind < 2:
        return random.Random(seed).randbytes(size)
    if kind == 2:
        return (b"%d bottles of beer on the wall\n" % seed * (size // 30 + 1))[:size]
    if kind == 3:
        return bytes(size)
    data = bytearray(size)
    for start in range(seed * 1000, size, 50_000 if kind == 4 else 9000):
        data[start : start + 700] = random.Random(start).randbytes(len(data[start : start + 700]))
    return bytes(data)


@st.composite
def specimens(draw: st.DrawFn, max_items: int = 14) -> Specimen:
    """Any small tree."""
    items: list[Item] = []
    directories = [b""]
    taken: set[bytes] = set()
    for _ in range(draw(st.integers(0, max_items))):
        parent = draw(st.sampled_from(directories))
        name = draw(_NAMES)
        path = parent + b"/" + name if parent else name
        if path in taken or _is_reserved(name, path):
            continue
        item = draw(_items(path, [item.path for item in items if item.kind not in ("directory", "hardlink")]))
        items.append(item)
        taken.add(path)
        if item.kind == "directory":
            directories.append(path)
    return tuple(items)


def _is_reserved(name: bytes, path: bytes) -> bool:
    estargz = (b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark")
    return name in (b".", b"..") or name.startswith(b".wh.") or path in estargz or len(path) > 250


def _items(path: bytes, linkable: list[bytes]) -> st.SearchStrategy[Item]:
    kinds = [
        "directory",
        "directory",
        "directory",
        "file",
        "file",
        "file",
        "symlink",
        "fifo",
        "char",
        "block",
    ]
    return st.sampled_from(kinds + ["hardlink"] * (2 if linkable else 0)).flatmap(
        lambda kind: _item(path, kind, linkable)
    )


def _item(path: bytes, kind: str, linkable: list[bytes]) -> st.SearchStrategy[Item]:
    if kind == "hardlink":
        return st.builds(Item, st.just(path), st.just(kind), target=st.sampled_from(linkable))
    special: dict[str, st.SearchStrategy[object]] = {}
    if kind == "file":
        special = {"content": contents(), "xattrs": _XATTRS}
    elif kind == "directory":
        special = {"xattrs": _XATTRS}
    elif kind == "symlink":
        special = {"target": st.one_of(_NAMES, st.sampled_from([b"/", b"../x", b"t" * 101, b"t" * 4095]))}
    elif kind in ("char", "block"):
        special = {"device": st.sampled_from([(1, 3), (255, 255), (4095, 256), (0, 1), (1, 1048575)])}
    return st.builds(
        Item, st.just(path), st.just(kind), mode=_MODES if kind != "symlink" else st.just(0o777),
        uid=_OWNERS, gid=_OWNERS, mtime_s=_TIMES, mtime_ns=_FRACTIONS, **special,
    )  # fmt: skip


def limited(specimen: Specimen) -> Specimen:
    """The specimen as far as every dialect can say it: no xattrs, no fractions, no large numbers."""
    return tuple(
        replace(
            item, uid=min(item.uid, MAX_NUMBER), gid=min(item.gid, MAX_NUMBER), xattrs={},
            mtime_s=min(item.mtime_s, MAX_TIME), mtime_ns=0,
        )
        for item in specimen
    )  # fmt: skip


def expected(specimen: Specimen) -> Tree:
    """What has to be shown of a specimen; of an unlisted root what containers see there."""
    by_path = {item.path: item for item in specimen}
    names: dict[bytes, list[bytes]] = defaultdict(list)
    for item in specimen:
        names[item.target if item.kind == "hardlink" else item.path].append(item.path)
    subdirectories: dict[bytes, int] = defaultdict(int)
    for item in specimen:
        if item.kind == "directory":
            subdirectories[item.path.rpartition(b"/")[0]] += 1
    tree = {b".": _node(Item(b"", "directory"), [b""], subdirectories[b""])}
    for group in names.values():
        for path in group:
            tree[path] = _node(by_path[group[0]], group, subdirectories[path])
    return tree


def fractions(specimen: Specimen) -> dict[bytes, int]:
    """The nanoseconds of each name."""
    own = {item.path: item.mtime_ns for item in specimen}
    return {item.path: own[item.target if item.kind == "hardlink" else item.path] for item in specimen}


def _node(item: Item, names: list[bytes], subdirectories: int) -> Node:
    links = 2 + subdirectories if item.kind == "directory" else len(names)
    size = len(item.target) if item.kind == "symlink" else len(item.content)
    return Node(
        kind=item.kind, mode=item.mode, uid=item.uid, gid=item.gid, mtime_s=item.mtime_s, size=size,
        links=links, stat_links=links, target=item.target, group=min(names) if len(names) > 1 else b"",
        device=_makedev(*item.device) if item.kind in ("char", "block") else 0,
        xattrs=tuple(sorted((name.decode(), value) for name, value in item.xattrs.items())),
        sha256=hashlib.sha256(item.content).hexdigest() if item.kind == "file" else "",
    )  # fmt: skip


def _makedev(major: int, minor: int) -> int:
    return os.makedev(major, minor)


def extents(content: bytes, grain: int = 512) -> tuple[tuple[int, int], ...]:
    """Where a file has data and no hole; with an empty extent at the end of a file that ends in a hole."""
    full = [start for start in range(0, len(content), grain) if content[start : start + grain].strip(b"\0")]
    found: list[tuple[int, int]] = []
    breaks = [index + 1 for index, (one, other) in enumerate(pairwise(full)) if other != one + grain]
    for first, last in pairwise([0, *breaks, len(full)]):
        if first < last:
            start = full[first]
            found.append((start, min(full[last - 1] + grain, len(content)) - start))
    if not found or sum(found[-1]) < len(content):
        found.append((len(content), 0))
    return tuple(found)
