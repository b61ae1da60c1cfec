"""What entries mean for the tree of a layer.

The cases that containerd was measured on are `tests/images/odd`, compared with it in `tests/interop`; here
stands what has to come of each rule.
"""

from __future__ import annotations

import stat
from collections.abc import Callable

import pytest

from converter import limits
from converter.errors import ConvertError, InvalidLayerError, LimitExceededError
from converter.layer_tree import LayerTree
from converter.tar import ByteSource, TarReader
from converter.tree import FileTree
from tests.converter.layers import paths
from tests.images import tar as made
from tests.images.tar import directory, file, hardlink, opaque, symlink, whiteout


def build(*entries: made.Entry) -> FileTree:
    layer = LayerTree()
    for entry in TarReader(ByteSource(iter([made.encode_tar(entries)]))):
        layer.add(entry)
    return layer.finish()


def names(tree: FileTree) -> set[bytes]:
    return set(paths(tree))


def inode(tree: FileTree, path: bytes) -> int:
    return paths(tree)[path]


def test_parents_that_nobody_lists_are_implicit_until_listed() -> None:
    tree = build(file("a/b/c"), directory("a", 0o700, mtime=5))
    assert names(tree) == {b"a", b"a/b", b"a/b/c"}
    listed, unlisted = inode(tree, b"a"), inode(tree, b"a/b")
    assert (tree.explicit[listed], tree.mode[listed], tree.mtime_s[listed]) == (1, stat.S_IFDIR | 0o700, 5)
    assert (tree.explicit[unlisted], tree.mode[unlisted]) == (0, stat.S_IFDIR | 0o755)
    assert not tree.explicit[tree.ROOT]


def test_paths_are_normalised() -> None:
    tree = build(file("./a"), file("b//c"), directory("./d/./e///"), file("f/"))
    assert names(tree) == {b"a", b"b", b"b/c", b"d", b"d/e", b"f"}


@pytest.mark.parametrize(
    "entry",
    [
        file("/etc/passwd"),
        file("//x"),
        directory("/.."),
        file("../x"),
        file("a/../../x"),
        file("a/../x"),
        directory(".."),
        whiteout("a/../x"),
        hardlink("b", "../a"),
        hardlink("b", "/a"),
    ],
)
def test_paths_that_could_lead_out_are_refused(entry: made.Entry) -> None:
    with pytest.raises(InvalidLayerError, match=r"absolute path|'\.\.' could lead out"):
        build(file("a"), entry)


def test_names_and_paths_are_bounded() -> None:
    assert len(build(file("n" * 255))) == 2
    for entry in (file("n" * 256), file("n" * 256 + "/f"), file("d/" * 2100 + "f"), symlink("l", "t" * 4096)):
        with pytest.raises(ConvertError):
            build(entry)


def test_a_later_entry_replaces_an_earlier_one() -> None:
    tree = build(file("a", b"1", mode=0o600), file("a", b"22", mode=0o640))
    assert tree.size[inode(tree, b"a")] == 2
    over = build(directory("d"), file("d/x"), file("d", b"f"))
    assert names(over) == {b"d"}
    back = build(file("d"), directory("d"), file("d/y"))
    assert names(back) == {b"d", b"d/y"}


def test_a_directory_listed_twice_keeps_its_children_and_all_xattrs() -> None:
    tree = build(
        directory("d", xattrs={b"user.a": b"1", b"user.b": b"1"}),
        file("d/x"),
        directory("d", 0o711, uid=3, xattrs={b"user.b": b"2"}),
    )
    number = inode(tree, b"d")
    assert names(tree) == {b"d", b"d/x"}
    assert (tree.mode[number], tree.uid[number]) == (stat.S_IFDIR | 0o711, 3)
    assert tree.xattrs[number] == ((b"user.a", b"1"), (b"user.b", b"2"))


def test_hard_links_share_an_inode_whatever_it_is() -> None:
    tree = build(
        file("f", b"f"), hardlink("f2", "f"), hardlink("f3", "./f2"),
        symlink("l", "nowhere"), hardlink("l2", "l"),
        made.Entry(b"c", made.CHAR, device=(1, 3)), hardlink("c2", "c"),
        made.Entry(b"p", made.FIFO), hardlink("p2", "p"),
    )  # fmt: skip
    found = paths(tree)
    for group in ((b"f", b"f2", b"f3"), (b"l", b"l2"), (b"c", b"c2"), (b"p", b"p2")):
        assert len({found[name] for name in group}) == 1
    assert len(set(found.values())) == 4


def test_the_last_hard_link_gives_the_inode_its_metadata() -> None:
    tree = build(
        file("a", uid=1, xattrs={b"user.a": b"1"}),
        hardlink("b", "a", mode=0o4755, uid=3, mtime=1000, xattrs={b"user.b": b"2"}),
        symlink("l", "x"),
        hardlink("m", "l", mode=0, uid=9),
    )
    a, link = inode(tree, b"a"), inode(tree, b"l")
    assert (tree.mode[a], tree.uid[a], tree.mtime_s[a]) == (stat.S_IFREG | 0o4755, 3, 1000)
    assert tree.xattrs[a] == ((b"user.a", b"1"), (b"user.b", b"2"))
    assert (tree.mode[link], tree.uid[link]) == (stat.S_IFLNK | 0o777, 9)


def test_names_linked_to_a_replaced_file_keep_it() -> None:
    tree = build(file("a", b"old"), hardlink("b", "a"), file("a", b"newer"), hardlink("c", "a"))
    found = paths(tree)
    assert found[b"a"] == found[b"c"] != found[b"b"]
    assert (tree.size[found[b"b"]], tree.size[found[b"a"]]) == (3, 5)


def test_links_to_what_this_layer_does_not_have_wait_for_the_lower_ones() -> None:
    tree = build(
        hardlink("d/b", "./d/a"),
        hardlink("d/c", "d/b"),
        symlink("s", "d"),
        hardlink("e", "s/x/y"),
        hardlink("gone", "z"),
        whiteout("gone"),
        hardlink("back", "z"),
        file("back"),
        hardlink("old/n", "z"),
        file("old"),
    )
    root, d = tree.ROOT, inode(tree, b"d")
    assert sorted(tree.lower_links) == sorted([(d, b"b", b"d/a"), (d, b"c", b"d/a"), (root, b"e", b"d/x/y")])
    assert names(tree) == {b"d", b"s", b"back", b"old"}


@pytest.mark.parametrize(
    "entries",
    [
        (file("a"), hardlink("a", "a")),
        (hardlink("a", "./a"),),
        (directory("d"), hardlink("e", "d")),
        (file("a"), hardlink("e", "./")),
        (file("a"), file("a/b")),
        (file("t"), symlink("a", "t"), file("a/b")),
        (symlink("a", "b"), symlink("b", "a"), file("a/x")),
        (file("d/.wh."),),
        (file("d/.wh.."),),
        (file("d/.wh..."),),
        (symlink("l", ""),),
        (file("a", uid=2**32, form="gnu"),),
        (file("a", gid=2**32 - 1, form="gnu"),),
        (made.Entry(b"n", made.CHAR, device=(4096, 0)),),
        (made.Entry(b"n", made.BLOCK_DEVICE, device=(1, 2**20)),),
    ],
    ids=lambda entries: " ".join(entry.name.decode() for entry in entries),
)
def test_what_cannot_be_unpacked_is_refused(entries: tuple[made.Entry, ...]) -> None:
    with pytest.raises(InvalidLayerError):
        build(*entries)


def test_symlinks_on_the_way_are_followed_inside_the_root() -> None:
    tree = build(
        directory("real/deep"),
        symlink("rel", "real"),
        file("rel/1"),
        symlink("abs", "/real/deep"),
        file("abs/2"),
        symlink("real/up", "../../../../real"),
        file("rel/up/deep/3"),
        symlink("dangling", "made/here"),
        file("dangling/4"),
        symlink("chain", "rel"),
        directory("chain/deep", 0o700),
    )
    assert names(tree) == {
        b"real", b"real/deep", b"rel", b"real/1", b"abs", b"real/deep/2", b"real/up", b"real/deep/3",
        b"dangling", b"made", b"made/here", b"made/here/4", b"chain",
    }  # fmt: skip
    assert tree.mode[inode(tree, b"real/deep")] == stat.S_IFDIR | 0o700


def test_a_replaced_symlink_or_directory_is_followed_no_more() -> None:
    tree = build(
        directory("e"), symlink("d", "e"), file("d/1"), directory("d"), file("d/2"),
        symlink("d", "e"), file("d/3"),
    )  # fmt: skip
    assert names(tree) == {b"e", b"e/1", b"e/3", b"d"}


def test_whiteouts_hide_and_remove_what_was_listed_before() -> None:
    tree = build(directory("d"), file("d/x"), whiteout("d/x"), whiteout("d/y"), opaque("d"), whiteout("top"))
    d = inode(tree, b"d")
    assert names(tree) == {b"d"}
    assert tree.whiteouts == {d: {b"x", b"y"}, tree.ROOT: {b"top"}}
    assert tree.opaque == {d}


def test_an_entry_takes_the_place_of_its_whiteout() -> None:
    tree = build(whiteout("d"), directory("d"), whiteout("i"), file("i/child"))
    assert tree.whiteouts[tree.ROOT] == {b"i"}
    assert names(tree) == {b"d", b"i", b"i/child"}


def test_any_type_is_a_whiteout_by_its_name_and_a_null_device_by_its_numbers() -> None:
    tree = build(
        directory(".wh.a"), symlink(".wh.b", "x"), file(b".wh.\xff", b"content"),
        made.Entry(b"c", made.CHAR, device=(0, 0)), made.Entry(b"e", made.BLOCK_DEVICE, device=(0, 0)),
    )  # fmt: skip
    assert tree.whiteouts == {tree.ROOT: {b"a", b"b", b"\xff", b"c"}}
    assert names(tree) == {b"e"}


def test_what_aufs_and_estargz_kept_for_themselves_is_no_file() -> None:
    tree = build(
        file(".wh..wh.aufs"), directory(".wh..wh.plnk"), file("stargz.index.json"),
        file("./.prefetch.landmark"), file(".no.prefetch.landmark"), file("d/.prefetch.landmark"),
    )  # fmt: skip
    assert names(tree) == {b"d", b"d/.prefetch.landmark"}
    assert not tree.whiteouts


@pytest.mark.parametrize("name", ["./", ".", "/", "/./"])
def test_the_root_takes_only_its_time_from_the_tar(name: str) -> None:
    """Kaniko calls it `/`, in every layer."""
    root = directory(name, 0o700, uid=5, gid=6, mtime=1000, xattrs={b"user.a": b"1"})
    tree = build(root, made.Entry(b".wh..wh..opq"), file("a"))
    assert (tree.mode[0], tree.uid[0], tree.gid[0], tree.mtime_s[0]) == (stat.S_IFDIR | 0o755, 0, 0, 1000)
    assert tree.explicit[0] == 1
    assert not tree.opaque
    assert not tree.xattrs


def test_types_and_numbers_arrive() -> None:
    tree = build(
        symlink("l", b"\xfe/target", uid=7, mtime=9),
        made.Entry(b"c", made.CHAR, device=(259, 70000), mode=0o100640),
        made.Entry(b"p", made.FIFO, mode=0o600),
    )
    link, device, fifo = (inode(tree, name) for name in (b"l", b"c", b"p"))
    assert (tree.mode[link], tree.size[link]) == (stat.S_IFLNK | 0o777, 8)
    assert tree.symlink_target == {link: b"\xfe/target"}
    assert tree.mode[device] == stat.S_IFCHR | 0o640
    assert tree.rdev[device] == (70000 & 0xFF) | (259 << 8) | ((70000 & ~0xFF) << 12)
    assert tree.mode[fifo] == stat.S_IFIFO | 0o600


@pytest.mark.parametrize(
    ("mtime", "seconds", "nanoseconds"),
    [
        (b"-1", 0, 0),
        (b"-0.5", 0, 0),
        (b"0.25", 0, 250_000_000),
        (b"9223372036.854775807", 9223372036, 854775807),
        (b"9223372036.854775808", 0, 0),
    ],
)
def test_times_are_bounded_as_engines_bound_them(mtime: bytes, seconds: int, nanoseconds: int) -> None:
    tree = build(file("a", records={b"mtime": mtime}))
    assert (tree.mtime_s[1], tree.mtime_ns[1]) == (seconds, nanoseconds)


def test_only_attributes_that_can_be_set_are_kept() -> None:
    xattrs = dict.fromkeys(
        (b"user.u", b"security.s", b"trusted.t", b"system.nfs4_acl", b"other", b"system.posix_acl_access",
         b"system.posix_acl_default"),
        b"v",
    )  # fmt: skip
    tree = build(
        file("f", xattrs=xattrs), directory("d", xattrs=xattrs), symlink("l", "x", xattrs=xattrs),
        made.Entry(b"p", made.FIFO, xattrs=xattrs),
    )  # fmt: skip
    kept = {path: {name for name, _ in tree.xattrs[number]} for path, number in paths(tree).items()}
    security, user = b"security.s", b"user.u"
    access, default = b"system.posix_acl_access", b"system.posix_acl_default"
    assert kept == {
        b"f": {security, user, access},
        b"d": {security, user, access, default},
        b"l": {security},
        b"p": {security, access},
    }


@pytest.mark.parametrize("xattr", [{b"user." + b"n" * 251: b""}, {b"user.a": bytes(65536)}, {b"user.": b"1"}])
def test_attributes_are_bounded(xattr: dict[bytes, bytes]) -> None:
    with pytest.raises(LimitExceededError, match=r"^'a': .*attribute"):
        build(file("a", xattrs=xattr))


def test_attributes_may_end_with_a_dot() -> None:
    assert build(file("a", xattrs={b"user.a.": b"1"})).xattrs[1] == ((b"user.a.", b"1"),)


def test_attributes_that_a_file_collects_are_bounded() -> None:
    """Many entries can give to one file."""
    entries = [directory("d", xattrs={b"user.%d" % number: bytes(65000)}) for number in range(5)]
    assert len(build(*entries[:4]).xattrs[1]) == 4
    with pytest.raises(LimitExceededError, match=r"^'d': .*attributes"):
        build(*entries)


@pytest.mark.parametrize(
    "entry",
    [
        lambda n: directory(f"d{n}"),
        lambda n: file(f"{n}/" + "d/" * 50 + "f"),
        lambda n: file("same", mtime=n),
        lambda n: file(f"f{n}", xattrs={b"user.a": b"%d" % n + bytes(5000)}),
        lambda n: file("n" * 100 + f"/{n}" * 50 + "/f"),
        lambda n: symlink(f"l{n}", "t" * 3000),
        lambda n: hardlink(f"h{n}", "lower" * 100),
        lambda n: whiteout(f"w{n}"),
    ],
)
def test_what_is_remembered_of_files_is_bounded(
    entry: Callable[[int], made.Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_MEMORY_BYTES", 1 << 20)
    assert len(build(*map(entry, range(10)))) <= 600
    with pytest.raises(LimitExceededError, match="memory"):
        build(*map(entry, range(3000)))
