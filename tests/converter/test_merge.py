"""Each rule of laying layers over each other, one case for each."""

from __future__ import annotations

import stat
from collections.abc import Callable

import pytest

from converter import limits
from converter.errors import InvalidLayerError, LimitExceededError
from converter.merge import merge_layer
from converter.tree import FileTree, LowerLink
from tests.converter.rafs.samples import TreeBuilder

Build = Callable[[TreeBuilder], object]


def merged(*layers: Build) -> FileTree:
    image = FileTree()
    for number, build in enumerate(layers):
        builder = TreeBuilder()
        build(builder)
        merge_layer(image, builder.tree, [number, 9])
    return image


def blob_of(tree: FileTree, file: int) -> int:
    """The blob that has the first chunk of a file."""
    return tree.chunk_blob[tree.first_chunk[file]]


def shown(tree: FileTree) -> dict[str, str]:
    """Names and, in short, what they mean: files by the blob they come from and their size."""
    paths = {tree.ROOT: ""}
    found = {}
    for directory, name, inode in tree.walk():
        path = paths[inode] = paths[directory] + "/" + name.decode()
        if tree.is_directory(inode):
            found[path] = f"d{tree.mode[inode] & 0o7777:o}"
        elif inode in tree.symlink_target:
            found[path] = "-> " + tree.symlink_target[inode].decode()
        else:
            found[path] = f"{tree.size[inode]} of {blob_of(tree, inode)}"
    return found


def inode(tree: FileTree, path: bytes) -> int:
    found: int | None = tree.ROOT
    for name in path.split(b"/"):
        assert found is not None
        found = tree.lookup(found, name)
    assert found is not None
    return found


def lower(builder: TreeBuilder) -> None:
    builder.directory(b"d", 0o711)
    builder.file(b"d/x", b"x")
    builder.file(b"d/y", b"yy")
    builder.directory(b"d/s", 0o700)
    builder.file(b"d/s/t", b"ttt")
    builder.file(b"f", b"ffff")


LOWER = {"/d": "d711", "/d/s": "d700", "/d/s/t": "3 of 0", "/d/x": "1 of 0", "/d/y": "2 of 0", "/f": "4 of 0"}


def without(*paths: str) -> dict[str, str]:
    return {path: what for path, what in LOWER.items() if not path.startswith(paths)}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda b: None, LOWER),
        (lambda b: b.file(b"d/z", b"12345"), LOWER | {"/d/z": "5 of 1"}),
        (lambda b: b.file(b"d/x", b"12345"), LOWER | {"/d/x": "5 of 1"}),
        (lambda b: b.directory(b"d", 0o777), LOWER | {"/d": "d777"}),
        (lambda b: b.directory(b"d/s/new/deep"), LOWER | {"/d/s/new": "d755", "/d/s/new/deep": "d755"}),
        (lambda b: b.file(b"d", b"12345"), without("/d") | {"/d": "5 of 1"}),
        (lambda b: b.symlink(b"d", b"f"), without("/d") | {"/d": "-> f"}),
        (lambda b: b.directory(b"f", 0o700), LOWER | {"/f": "d700"}),
        (lambda b: b.file(b"f/z", b"12345"), LOWER | {"/f": "d755", "/f/z": "5 of 1"}),
        (lambda b: b.whiteout(b"d/x"), without("/d/x")),
        (lambda b: b.whiteout(b"d/s"), without("/d/s")),
        (lambda b: b.whiteout(b"d"), without("/d")),
        (lambda b: b.whiteout(b"f"), without("/f")),
        (lambda b: b.whiteout(b"d/never"), LOWER),
        (lambda b: b.whiteout(b"never/never"), LOWER | {"/never": "d755"}),
        (lambda b: (b.whiteout(b"d/x"), b.file(b"d/x", b"12345")), LOWER | {"/d/x": "5 of 1"}),
        (
            lambda b: (b.whiteout(b"d"), b.file(b"d/z", b"z")),
            without("/d") | {"/d": "d755", "/d/z": "1 of 1"},
        ),
        (lambda b: (b.whiteout(b"d"), b.directory(b"d", 0o700)), without("/d") | {"/d": "d700"}),
        (lambda b: b.opaque(b"d"), without("/d/")),
        (lambda b: (b.opaque(b"d"), b.file(b"d/z", b"12345")), without("/d/") | {"/d/z": "5 of 1"}),
        (lambda b: (b.opaque(b"d"), b.directory(b"d/s", 0o755)), without("/d/") | {"/d/s": "d755"}),
        (lambda b: b.opaque(b"d/s"), without("/d/s/")),
        (lambda b: b.opaque(b"new"), LOWER | {"/new": "d755"}),
        (lambda b: b.opaque(b""), {}),
        (lambda b: (b.opaque(b""), b.file(b"f", b"12345")), {"/f": "5 of 1"}),
    ],
)  # fmt: skip
def test_one_layer_over_another(build: Build, expected: dict[str, str]) -> None:
    assert shown(merged(lower, build)) == expected


def test_the_lowest_layer_hides_nothing() -> None:
    def build(builder: TreeBuilder) -> None:
        builder.file(b"d/x", b"x")
        builder.whiteout(b"d/x")
        builder.opaque(b"d")
        builder.opaque(b"")

    assert shown(merged(build)) == {"/d": "d755", "/d/x": "1 of 0"}


def test_what_comes_back_is_new() -> None:
    tree = merged(lower, lambda b: b.whiteout(b"d"), lambda b: b.file(b"d/x", b"12345"))
    assert shown(tree) == without("/d") | {"/d": "d755", "/d/x": "5 of 2"}


def test_a_listed_directory_replaces_metadata_and_xattrs() -> None:
    def first(builder: TreeBuilder) -> None:
        directory = builder.directory(b"d", 0o700, uid=1, gid=2, mtime_s=3, mtime_ns=4)
        builder.xattrs(directory, [(b"user.a", b"1")])

    tree = merged(first, lambda b: b.directory(b"d", 0o1777, uid=5, gid=6, mtime_s=7, mtime_ns=8))
    directory = inode(tree, b"d")
    assert (tree.mode[directory], tree.uid[directory], tree.gid[directory]) == (stat.S_IFDIR | 0o1777, 5, 6)
    assert (tree.mtime_s[directory], tree.mtime_ns[directory]) == (7, 8)
    assert directory not in tree.xattrs


def test_an_unlisted_directory_keeps_everything() -> None:
    def first(builder: TreeBuilder) -> None:
        for path in (b"", b"d", b"d/e"):
            directory = builder.directory(path, 0o2711, uid=1, gid=2, mtime_s=3, mtime_ns=4)
            builder.xattrs(directory, [(b"user.a", b"1")])

    tree = merged(first, lambda b: b.file(b"d/e/f"), lambda b: b.file(b"d/e/g"))
    for path in (tree.ROOT, inode(tree, b"d"), inode(tree, b"d/e")):
        assert (tree.mode[path], tree.uid[path], tree.gid[path]) == (stat.S_IFDIR | 0o2711, 1, 2)
        assert (tree.mtime_s[path], tree.mtime_ns[path]) == (3, 4)
        assert tree.xattrs[path] == ((b"user.a", b"1"),)


def test_a_directory_that_only_an_upper_layer_lists() -> None:
    def second(builder: TreeBuilder) -> None:
        builder.xattrs(builder.directory(b"d", 0o700, mtime_s=5), [(b"user.b", b"2")])

    tree = merged(lambda b: b.file(b"d/x", b"x"), second, lambda b: b.file(b"d/y", b"y"))
    directory = inode(tree, b"d")
    assert (tree.mode[directory], tree.mtime_s[directory]) == (stat.S_IFDIR | 0o700, 5)
    assert tree.xattrs[directory] == ((b"user.b", b"2"),)
    assert set(shown(tree)) == {"/d", "/d/x", "/d/y"}


def hardlinked(builder: TreeBuilder) -> None:
    first = builder.file(b"d/a", b"content")
    builder.hardlink(b"d/b", first)
    builder.hardlink(b"c", first)


def test_hardlinks_stay_linked() -> None:
    tree = merged(lambda b: b.file(b"x"), hardlinked, lambda b: b.file(b"d/y"))
    assert inode(tree, b"d/a") == inode(tree, b"d/b") == inode(tree, b"c")


def test_an_upper_layer_breaks_a_hardlink() -> None:
    tree = merged(hardlinked, lambda b: b.file(b"d/a", b"new"))
    assert inode(tree, b"d/b") == inode(tree, b"c") != inode(tree, b"d/a")
    assert tree.size[inode(tree, b"c")] == len(b"content")


def test_equal_inode_numbers_of_layers_do_not_mix() -> None:
    def first(builder: TreeBuilder) -> None:
        builder.symlink(b"l", b"first")
        builder.xattrs(builder.file(b"a", b"a"), [(b"user.a", b"1")])

    def second(builder: TreeBuilder) -> None:
        builder.symlink(b"m", b"second")
        builder.xattrs(builder.file(b"b", bytes(3 << 20)), [(b"user.b", b"2")])

    tree = merged(first, second)
    assert shown(tree)["/l"] == "-> first"
    assert shown(tree)["/m"] == "-> second"
    assert tree.xattrs[inode(tree, b"a")] == ((b"user.a", b"1"),)
    assert tree.xattrs[inode(tree, b"b")] == ((b"user.b", b"2"),)
    start = tree.first_chunk[inode(tree, b"b")]
    assert list(tree.chunk_refs[start : start + 3]) == [0, 1, 2]


def test_a_file_with_chunks_in_two_blobs() -> None:
    def split(builder: TreeBuilder) -> None:
        builder.file(b"a", b"a")
        builder.file(b"b", bytes(3 << 20))
        builder.tree.chunk_blob[2] = 1

    tree = merged(lower, split)
    start = tree.first_chunk[inode(tree, b"b")]
    assert list(tree.chunk_blob[start : start + 3]) == [1, 9, 1]
    assert [blob_of(tree, inode(tree, path)) for path in (b"f", b"a")] == [0, 1]


def link_to(builder: TreeBuilder, path: bytes, target: bytes) -> FileTree:
    parent, _, name = path.rpartition(b"/")
    directory = builder.directory(parent) if parent else builder.tree.ROOT
    builder.tree.lower_links.append(LowerLink(directory, name, target))
    return builder.tree


@pytest.mark.parametrize("path", [b"link", b"d/link", b"new/link", b"d/s/link"])
def test_a_hardlink_to_a_lower_layer(path: bytes) -> None:
    tree = merged(lower, lambda b: None, lambda b: link_to(b, path, b"d/s/t"))
    assert inode(tree, path) == inode(tree, b"d/s/t")
    assert blob_of(tree, inode(tree, path)) == 0


def test_a_hardlink_to_a_hardlink_to_a_lower_layer() -> None:
    def upper(builder: TreeBuilder) -> None:
        link_to(builder, b"new/one", b"d/x")
        link_to(builder, b"two", b"new/one")

    tree = merged(lower, upper)
    assert inode(tree, b"new/one") == inode(tree, b"two") == inode(tree, b"d/x")


def test_a_lower_target_may_be_replaced_in_the_same_layer() -> None:
    def upper(builder: TreeBuilder) -> None:
        link_to(builder, b"old", b"f")
        builder.file(b"f", b"12345")

    tree = merged(lower, upper)
    assert (tree.size[inode(tree, b"old")], tree.size[inode(tree, b"f")]) == (4, 5)


@pytest.mark.parametrize(
    "upper",
    [
        lambda b: link_to(b, b"link", b"missing"),
        lambda b: link_to(b, b"link", b"d/missing"),
        lambda b: link_to(b, b"link", b"f/x"),
        lambda b: link_to(b, b"link", b"d"),
        lambda b: (b.whiteout(b"d/x"), link_to(b, b"link", b"d/x")),
        lambda b: (b.whiteout(b"d"), link_to(b, b"link", b"d/x")),
        lambda b: (b.opaque(b"d"), link_to(b, b"link", b"d/x")),
        lambda b: (b.opaque(b""), link_to(b, b"link", b"f")),
        lambda b: (b.file(b"d", b"a file"), link_to(b, b"link", b"d/x")),
        lambda b: (link_to(b, b"one", b"f"), link_to(b, b"link", b"one/x")),
    ],
)
def test_a_hardlink_to_what_is_not_shown(upper: Build) -> None:
    with pytest.raises(InvalidLayerError, match="the target of the hardlink b'link'"):
        merged(lower, upper)


def test_many_layers() -> None:
    def layer(number: int) -> Build:
        def build(builder: TreeBuilder) -> None:
            builder.file(b"shared", b"%d" % number)
            builder.file(b"d/%d" % number, b"d")
            if number:
                builder.whiteout(b"d/%d" % (number - 1))

        return build

    tree = merged(*(layer(number) for number in range(300)))
    assert shown(tree) == {"/d": "d755", "/d/299": "1 of 299", "/shared": "3 of 299"}


@pytest.mark.parametrize(("limit", "most"), [("MAX_MEMORY_BYTES", 2000), ("MAX_CHUNK_REFS", 3)])
def test_what_layers_add_up_to_is_bounded(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest may name a small layer thousands of times."""

    def layer(builder: TreeBuilder) -> None:
        limits.count_memory(builder.tree, 600)
        builder.file(b"f", b"content")

    monkeypatch.setattr(limits, limit, most)
    assert shown(merged(*[layer] * 3)) == {"/f": "7 of 2"}
    with pytest.raises(LimitExceededError, match=str(most)):
        merged(*[layer] * 4)
