"""RAFS v5: our bootstraps beside those of nydus-image, and mounted by nydusd, which checks their digests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from converter.options import ConvertOptions
from tests.converter.layers import convert as convert_layer
from tests.images.odd import case_image, named, odd_image
from tests.images.tar import CHAR, Entry, directory, encode_tar, file, hardlink, symlink
from tests.interop.conversion import Conversion, convert
from tests.interop.readers import by_nydusd, check
from tests.interop.test_forms import image
from tests.interop.test_odd_image import COMPRESSIONS, REFUSED_BY_CHECK
from tests.interop.truth import converted_cases
from tests.peers.mounts import directory_backend, nydusd_mount
from tests.peers.programs import ProgramError, run_program
from tests.trees import Tree, assert_same_tree, wrong_link_counts

DEFAULT = ConvertOptions(fs_version=5)
OTHER = ConvertOptions(
    fs_version=5, compressor="lz4_block", digester="sha256", chunk_size=1 << 16, prefetch=("/big", "/l")
)
_SUPERBLOCK = struct.Struct("<IIIIQQQQQIIIIQ")
_INODE = struct.Struct("<32sQQIIIIQQQIIIHHIIQ8x")
_CHUNK = struct.Struct("<32sIIIIQQQII")


_HARDLINK = 2


@dataclass(frozen=True)
class Row:
    """All that a bootstrap says of one name."""

    fields: tuple[object, ...]
    symlink: bytes
    xattrs: frozenset[tuple[bytes, bytes]]
    chunks: tuple[tuple[object, ...], ...]


def rows(data: bytes) -> dict[bytes, Row]:
    """Every name of a bootstrap by its path, read from the root downwards."""
    head = _SUPERBLOCK.unpack_from(data)
    table = struct.unpack_from(f"<{head[9]}I", data, head[6])
    found: dict[bytes, Row] = {}
    stack = [(1, b"")]
    while stack:
        index, parent = stack.pop()
        at = 8 * table[index - 1]
        fields = _INODE.unpack_from(data, at)
        mode, flags, child_index, child_count, name_size, symlink_size = (
            fields[6], fields[9], *fields[11:15]
        )  # fmt: skip
        at += _INODE.size
        path = parent + data[at : at + name_size] if index == 1 else parent + b"/" + data[at : at + name_size]
        at += -(-name_size // 8) * 8
        target = data[at : at + symlink_size]
        at += -(-symlink_size // 8) * 8
        pairs, at = _xattrs(data, at) if flags & 4 else (frozenset(), at)
        chunks: tuple[tuple[object, ...], ...] = ()
        if mode & 0o170000 == 0o100000:
            records = (_CHUNK.unpack_from(data, at + 80 * number) for number in range(child_count))
            # Without the CRC, which we do not write, and its flag.
            chunks = tuple((*record[:2], record[2] & ~0x10, *record[3:9]) for record in records)
        if mode & 0o170000 == 0o040000:
            below = b"" if index == 1 else path
            stack += [(child_index + number, below) for number in range(child_count)]
            if not child_count:
                fields = (*fields[:11], 0, *fields[12:])  # means nothing then
        found[path] = Row(fields, target, pairs, chunks)
    return found


def _xattrs(data: bytes, at: int) -> tuple[frozenset[tuple[bytes, bytes]], int]:
    size = struct.unpack_from("<Q", data, at)[0]
    pairs, end = [], at + 8 + size
    at += 8
    while at < end:
        length = struct.unpack_from("<I", data, at)[0]
        name, _, value = data[at + 4 : at + 4 + length].partition(b"\0")
        pairs.append((name, value))
        at += 4 + length
    return frozenset(pairs), end + -size % 8


def inlined(blob: bytes) -> bytes:
    """The bootstrap at the end of a layer blob, which its tar header gives the size of."""
    size = int(blob[-512 + 124 : -512 + 135], 8)
    return blob[-512 - size : -512]


LAYER = encode_tar(
    [
        directory("a"),
        directory("a/empty", 0o1777, uid=7, gid=8),
        file("a/large", b"0123456789" * 300_000, xattrs={b"user.x": b"y", b"security.capability": b"\1\0"}),
        file("a/small", b"small", mode=0o4755),
        file("a/none"),
        hardlink("z", "a/small", mode=0o4755),
        symlink("a/link", "../z"),
        Entry(b"c", CHAR, device=(1, 300), mode=0o600),
        *(file(f"a/many/{number:03}", b"%d" % number) for number in range(300)),
    ]
)


def comparable(found: dict[bytes, Row]) -> dict[bytes, Row]:
    """The rows without what nydus-image writes in its own way.

    It marks a name as a hardlink only if the tar says it is one, and gives what is no device a device number
    of all ones, which nydusd then shows.
    """
    known = {}
    for path, row in found.items():
        fields = list(row.fields)
        fields[9] = int(str(fields[9])) & ~_HARDLINK
        if fields[15] == 0xFFFFFFFF:
            fields[15] = 0
        known[path] = replace(row, fields=tuple(fields))
    return known


@pytest.mark.interop
@pytest.mark.parametrize("digester", ["blake3", "sha256"])
def test_every_inode_is_as_nydus_image_writes_it(digester: str, tmp_path: Path) -> None:
    options = ConvertOptions(
        fs_version=5, compressor="none", digester=digester, prefetch=(),  # type: ignore[arg-type]
    )  # fmt: skip
    ours = convert_layer(LAYER, tmp_path, options).blob.path.read_bytes()
    (tmp_path / "layer.tar").write_bytes(LAYER)
    run_program(
        "nydus-image", "create", "--type", "tar-rafs", "--whiteout-spec", "none", "--fs-version", "5",
        "--compressor", "none", "--digester", digester, "--blob-inline-meta", "--prefetch-policy", "fs",
        "--blob", tmp_path / "theirs", tmp_path / "layer.tar",
    )  # fmt: skip
    theirs = (tmp_path / "theirs").read_bytes()
    found, wanted = comparable(rows(inlined(ours))), comparable(rows(inlined(theirs)))
    assert found.keys() == wanted.keys()
    assert [(path, row, wanted[path]) for path, row in found.items() if row != wanted[path]] == []
    assert ours[: -512 - len(inlined(ours))] == theirs[: -512 - len(inlined(theirs))]
    ours_head, theirs_head = (_SUPERBLOCK.unpack_from(inlined(blob)) for blob in (ours, theirs))
    assert ours_head == theirs_head


@pytest.fixture(scope="module")
def odd_conversion(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    directory = tmp_path_factory.mktemp("odd5")
    return convert(odd_image(converted_cases(), COMPRESSIONS), directory / "converted", DEFAULT)


@pytest.mark.root
@pytest.mark.interop
def test_nydusd_shows_the_truth(odd_conversion: Conversion, odd_tree: Tree, tmp_path: Path) -> None:
    """With every digest checked, of chunks and of inodes."""
    shown = by_nydusd(odd_conversion, tmp_path / "nydusd", inodes=True)
    assert_same_tree(odd_tree, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.full
@pytest.mark.root
@pytest.mark.interop
def test_another_form_shows_the_same_tree(tmp_path: Path) -> None:
    default = by_nydusd(convert(image(), tmp_path / "6", ConvertOptions()), tmp_path / "nydusd6")
    conversion = convert(image(), tmp_path / "5", OTHER)
    check(conversion.bootstrap)
    assert_same_tree(default, by_nydusd(conversion, tmp_path / "nydusd5", inodes=True))


@pytest.mark.interop
def test_nydus_image_accepts_every_bootstrap(tmp_path: Path) -> None:
    cases = [case for case in converted_cases() if case.name not in REFUSED_BY_CHECK]
    conversion = convert(odd_image(cases, COMPRESSIONS), tmp_path / "converted", DEFAULT)
    check(conversion.bootstrap)
    for number, blob in enumerate(conversion.image.blobs):
        bootstrap = tmp_path / f"layer{number}.boot"
        bootstrap.write_bytes(inlined(blob.path.read_bytes()))
        check(bootstrap)


@pytest.mark.root
@pytest.mark.interop
def test_nydusd_finds_a_changed_chunk_digest_by_the_digests_of_inodes(tmp_path: Path) -> None:
    conversion = convert(case_image(named("content-chunks")), tmp_path / "converted", DEFAULT)
    data = bytearray(conversion.bootstrap.read_bytes())
    digest = rows(bytes(data))[b"/f1048577"].chunks[0][0]
    assert isinstance(digest, bytes)
    data[data.rindex(digest)] ^= 1
    conversion.bootstrap.write_bytes(data)
    backend = directory_backend(conversion.blobs)
    with nydusd_mount(conversion.bootstrap, backend, tmp_path / "unchecked"):
        pass
    with (
        pytest.raises(ProgramError, match="invalid inode digest"),
        nydusd_mount(conversion.bootstrap, backend, tmp_path / "checked", inodes=True),
    ):
        pass
