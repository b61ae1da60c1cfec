"""Reading tars of every form, made by tarfile, by hand, and damaged."""

from __future__ import annotations

import io
import random
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import InvalidLayerError
from converter.tar import ByteSource, Entry, EntryType, TarReader
from tests.images import tar as made

ZEROS = bytes(4096)


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, block_size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = TarReader(ByteSource(blocks(data, block_size)))
    return [
        (entry, b"".join(reader.content(ZEROS)) if entry.type is EntryType.FILE else b"") for entry in reader
    ]


def read_one(*entries: made.Entry) -> Entry:
    ((entry, _),) = read(made.encode_tar(entries))
    return entry


def patched(record: bytes, offset: int, field: bytes) -> bytes:
    """A header with a field changed and the checksum made right again."""
    head = record[:offset] + field + record[offset + len(field) : 512]
    blank = head[:148] + b" " * 8 + head[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:] + record[512:]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("block_size", [1, 511, 512, 1000, 1 << 20])
def test_reads_what_tarfile_writes(form: int, block_size: int) -> None:
    long = "d" * 90 + "/" + "n" * 90
    members: list[tuple[str, bytes, dict[str, object], bytes]] = [
        ("plain", tarfile.REGTYPE, {"mode": 0o4755, "uid": 5, "gid": 6, "mtime": 1234567890}, b"x" * 5000),
        (long, tarfile.REGTYPE, {}, b"y"),
        ("link", tarfile.SYMTYPE, {"linkname": "t" * 99}, b""),
        ("hard", tarfile.LNKTYPE, {"linkname": "plain"}, b""),
        ("dir", tarfile.DIRTYPE, {"mode": 0o1777}, b""),
        ("null", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}, b""),
        ("disk", tarfile.BLKTYPE, {"devmajor": 259, "devminor": 70000}, b""),
        ("pipe", tarfile.FIFOTYPE, {}, b""),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind, fields, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    found = read(buffer.getvalue(), block_size)
    assert [content for _, content in found] == [content for *_, content in members]
    entries = {entry.path.decode().rstrip("/"): entry for entry, _ in found}
    assert list(entries) == [name for name, *_ in members]
    plain = entries["plain"]
    assert (plain.mode, plain.uid, plain.gid, plain.mtime_s, plain.size) == (0o4755, 5, 6, 1234567890, 5000)
    assert entries["link"].linkname == b"t" * 99
    assert (entries["hard"].type, entries["hard"].linkname) == (EntryType.HARDLINK, b"plain")
    assert (entries["disk"].major, entries["disk"].minor) == (259, 70000)
    kinds = {name: int(entry.type) for name, entry in entries.items()}
    assert [kinds[name] for name in ("dir", "pipe", "null", "disk")] == [
        stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK,
    ]  # fmt: skip


def test_long_names_and_links_of_every_form() -> None:
    name, target = b"n" * 300, b"t" * 3000
    for form in ("gnu", "pax"):
        entry = read_one(made.symlink(name, target, form=form))
        assert (entry.path, entry.linkname) == (name, target)
    assert (
        read_one(made.file(b"p" * 150 + b"/" + b"q" * 90, form="ustar")).path == b"p" * 150 + b"/" + b"q" * 90
    )


def test_a_long_gnu_name_wins_over_a_pax_path() -> None:
    data = made.encode_entry(made.file(b"g" * 120, form="gnu"))
    pax = made.encode_entry(made.file(b"short", records={b"path": b"from-pax"}))
    ((entry, _),) = read(data[:1024] + pax + made.END)
    assert entry.path == b"g" * 120


def test_names_stay_bytes() -> None:
    assert read_one(made.file(b"caf\xe9/\xff", form="ustar")).path == b"caf\xe9/\xff"
    assert read_one(made.symlink(b"\x80", b"\xfe" * 200)).linkname == b"\xfe" * 200


def test_v7_knows_directories_by_their_slash() -> None:
    entry = made.encode_entry(made.Entry(b"old/", b"\0", form="ustar"))
    v7 = patched(entry, 257, bytes(8))
    ((found, _),) = read(v7 + made.END)
    assert found.type is EntryType.DIRECTORY
    ((file, _),) = read(patched(v7, 0, b"old\0") + made.END)
    assert file.type is EntryType.FILE


def test_the_prefix_of_star_is_shorter() -> None:
    entry = patched(
        made.encode_entry(made.file("n", form="ustar")), 345, b"p" * 131 + b"00000000001 00000000002 "
    )
    ((plain, _),) = read(entry + made.END)
    assert plain.path == b"p" * 131 + b"00000000001 00000000002 " + b"/n"
    ((star, _),) = read(patched(entry, 508, b"tar\0") + made.END)
    assert star.path == b"p" * 131 + b"/n"


def test_times_of_gnu_are_no_prefix_but_old_go_wrote_one() -> None:
    entry = made.encode_entry(made.file("n", form="gnu"))
    ((timed, _),) = read(patched(entry, 345, b"14000000000\0" * 2) + made.END)
    assert timed.path == b"n"
    ((old_go, _),) = read(patched(entry, 345, b"some/directory\0") + made.END)
    assert old_go.path == b"some/directory/n"


def test_numbers_in_base_256_and_with_blanks() -> None:
    entry = read_one(made.file("a", uid=2**31, gid=2**33, mtime=-86400, form="gnu"))
    assert (entry.uid, entry.gid, entry.mtime_s) == (2**31, 2**33, -86400)
    record = made.encode_entry(made.file("a"))
    for field, mode in ((b"   644 \0", 0o644), (b"0000644 ", 0o644), (b"644\0junk", 0o644), (bytes(8), 0)):
        ((found, _),) = read(patched(record, 100, field) + made.END)
        assert found.mode == mode


@pytest.mark.parametrize("field", [b"0000688\0", b"-000644\0", b"0_00644\0", b"0x00644\0", b"abc\0\0\0\0\0"])
def test_what_is_no_octal_number_is_refused(field: bytes) -> None:
    with pytest.raises(InvalidLayerError, match="not an octal number"):
        read(patched(made.encode_entry(made.file("a")), 100, field) + made.END)


@pytest.mark.parametrize(("size", "reason"), [(b"\xff" * 12, "size -1"), (b"\x80" + b"\xff" * 11, "63 bits")])
def test_impossible_sizes_are_refused(size: bytes, reason: str) -> None:
    with pytest.raises(InvalidLayerError, match=reason):
        read(patched(made.encode_entry(made.file("a")), 124, size) + made.END)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (b"1577836800.987654321", (1577836800, 987654321)),
        (b"1577836800.9876543219", (1577836800, 987654321)),
        (b"5.", (5, 0)),
        (b"7.5", (7, 500_000_000)),
        (b"-1.5", (-2, 500_000_000)),
        (b"-0.25", (-1, 750_000_000)),
        (b"-3", (-3, 0)),
        (b"-3.0", (-3, 0)),
    ],
)
def test_pax_times(text: bytes, time: tuple[int, int]) -> None:
    entry = read_one(made.file("a", records={b"mtime": text}))
    assert (entry.mtime_s, entry.mtime_ns) == time


def test_pax_records_win_over_the_header_and_empty_ones_do_not() -> None:
    records = {b"uid": b"3000000", b"gid": b"7", b"size": b"3", b"path": b"real/name", b"mtime": b""}
    data = made.encode_tar([made.Entry(b"short", content=b"abc", size=0, records=records), made.file("next")])
    (first, content), (second, _) = read(data)
    assert (first.path, first.uid, first.gid, first.size, content) == (b"real/name", 3000000, 7, 3, b"abc")
    assert first.mtime_s == made.DEFAULT_MTIME
    assert (second.path, second.uid) == (b"next", 0)


def test_xattrs() -> None:
    values = {b"user.z": b"a\0b\xff", b"user.a": b"", b"user.equals=": b"v"}
    entry = read_one(made.file("a", xattrs={k: v for k, v in values.items() if b"=" not in k}))
    assert entry.xattrs == ((b"user.a", b""), (b"user.z", b"a\0b\xff"))
    ignored = {b"LIBARCHIVE.xattr.user.b": b"aGk", b"SCHILY.acl.access": b"user::rw-", b"comment": b"x"}
    assert read_one(made.file("a", records=ignored)).xattrs == ()


def test_a_global_header_is_checked_and_ignored() -> None:
    """As Go's reader, which all engines unpack with: also what stands in front of it is forgotten."""
    records = made.pax_records({b"path": b"everything", b"uid": b"7", b"comment": b"x"})
    marker = made.Entry(b"pax_global_header", made.PAX_GLOBAL, records, form="ustar")
    (entry, _), (after, _) = read(made.encode_tar([marker, made.file("a", uid=1), made.file("b")]))
    assert (entry.path, entry.uid, after.path) == (b"a", 1, b"b")
    assert read(made.encode_tar([marker])) == []
    local = made.encode_entry(made.file("a", records={b"path": b"lost"}))
    ((entry, _),) = read(local[:1024] + made.encode_entry(marker) + local[1024:] + made.END)
    assert entry.path == b"a"
    with pytest.raises(InvalidLayerError, match="PAX"):
        read(made.encode_tar([replace(marker, content=b"nonsense")]))


@pytest.mark.parametrize(
    "records",
    [
        b"nonsense",
        b"9 a=b\n",
        b"5 a=b\n",
        b"6 a=bX",
        b"999999999999999999999 a=b\n",
        b"6 ab \n",
        b"6 =ab\n",
        b"11 path=a\0\n",
        b"-6 a=b\n",
        b"6_0 a=b\n",
    ],
)
def test_malformed_pax_records_are_refused(records: bytes) -> None:
    with pytest.raises(InvalidLayerError, match="PAX"):
        read(made.encode_tar([made.Entry(b"a", raw_records=records)]))


@pytest.mark.parametrize("key", [b"uid", b"size", b"mtime"])
@pytest.mark.parametrize("value", [b"soon", b"1_0", b"0x10", b"99999999999999999999", b"1 "])
def test_pax_values_that_are_no_numbers_are_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(InvalidLayerError, match=key.decode()):
        read(made.encode_tar([made.file("a", records={key: value})]))


def test_an_extended_header_is_bounded() -> None:
    with pytest.raises(InvalidLayerError, match="extended header"):
        read(made.encode_tar([made.Entry(b"x", made.PAX_RECORDS, size=2 << 20, form="ustar")]))


MAP = ((0, 100), (4000, 200), (8192, 0), (9000, 5000), (20000, 0))
SIZE = 20000


def expanded(stored: bytes) -> bytes:
    content, taken = bytearray(SIZE), 0
    for offset, length in MAP:
        content[offset : offset + length] = stored[taken : taken + length]
        taken += length
    return bytes(content)


def pax_1_0(stored: bytes, pieces: tuple[tuple[int, int], ...] = MAP, size: int = SIZE) -> made.Entry:
    text = b"".join(b"%d\n" % n for n in (len(pieces), *(n for piece in pieces for n in piece)))
    return made.Entry(
        b"GNUSparseFile.1/s",
        content=text + bytes(-len(text) % 512) + stored,
        records={
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": b"s",
            b"GNU.sparse.realsize": b"%d" % size,
        },
    )


def test_every_sparse_form_gives_the_same_bytes() -> None:
    stored = random.Random(2).randbytes(5300)
    flat = b",".join(b"%d,%d" % piece for piece in MAP)
    numbers = {b"GNU.sparse.size": b"%d" % SIZE, b"GNU.sparse.numblocks": b"%d" % len(MAP)}
    pairs = b"".join(
        made.pax_records({b"GNU.sparse.offset": b"%d" % o, b"GNU.sparse.numbytes": b"%d" % n}) for o, n in MAP
    )
    entries = [
        pax_1_0(stored),
        made.Entry(b"s", content=stored, records={**numbers, b"GNU.sparse.map": flat}),
        made.Entry(b"s", content=stored, records=numbers, raw_records=pairs),
        made.Entry(b"s", made.GNU_SPARSE, stored, form="gnu", old_sparse=(SIZE, MAP)),
    ]
    for entry in entries:
        for block_size in (513, 1 << 20):
            ((found, content),) = read(made.encode_tar([entry]), block_size)
            assert (found.path, found.size) == (b"s", SIZE)
            assert content == expanded(stored)


def test_a_hole_is_the_piece_of_zeros_itself() -> None:
    entry = made.Entry(b"s", made.GNU_SPARSE, b"ab", form="gnu", old_sparse=(40_000, ((9000, 2),)))
    reader = TarReader(ByteSource(iter([made.encode_tar([entry])])))
    pieces = [piece for _ in reader for piece in reader.content(ZEROS)]
    assert [piece is ZEROS for piece in pieces] == [n != 2 for n in range(9)] + [False]
    assert list(map(len, pieces)) == [4096] * 9 + [40_000 % 4096]


@pytest.mark.parametrize(
    ("pieces", "size", "reason"),
    [
        (((0, 300), (200, 100)), 1000, "order"),
        (((500, 100), (0, 300)), 1000, "order"),
        (((0, 400), (900, 200)), 1000, "ends at 1100"),
        (((0, -5), (10, 405)), 1000, "order"),
        (((0, 300),), 1000, "400 bytes of data, its map 300"),
        (((0, 400),), 1 << 63, "not a number"),
    ],
)
def test_maps_that_make_no_sense_are_refused(
    pieces: tuple[tuple[int, int], ...], size: int, reason: str
) -> None:
    with pytest.raises(InvalidLayerError, match=reason):
        read(made.encode_tar([pax_1_0(b"d" * 400, pieces, size)]))


def test_maps_are_bounded_before_they_are_read() -> None:
    entry = pax_1_0(b"")
    for text in (b"99999999\n", b"-1\n", b"abc\n", b"1" * 512):
        with pytest.raises(InvalidLayerError, match=r"sparse file|number of extents"):
            read(made.encode_tar([replace(entry, content=text.ljust(1024, b"0"))]))


def test_content_that_nobody_takes_is_skipped() -> None:
    data = made.encode_tar([made.file("a", b"x" * 3000), made.file("b", b"y")])
    assert [entry.path for entry in TarReader(ByteSource(blocks(data, 100)))] == [b"a", b"b"]


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240)])
def test_archives_may_end_in_these_ways(end: bytes) -> None:
    assert len(read(made.encode_tar([made.file("a", b"1")], end))) == 1


def test_the_last_padding_may_be_missing() -> None:
    data = made.encode_tar([made.file("a", b"x" * 700)], b"")
    assert read(data[: 512 + 700])[0][1] == b"x" * 700


@pytest.mark.parametrize("cut", [1, 511, 513, 600, 512 + 699])
def test_a_tar_that_ends_early_is_an_error(cut: int) -> None:
    data = made.encode_tar([made.file("a", b"x" * 700)])
    with pytest.raises(InvalidLayerError, match="ends early"):
        read(data[:cut])


def test_a_tar_that_ends_behind_an_extended_header_is_an_error() -> None:
    data = made.encode_entry(made.file("n" * 300))
    for cut in (512, 700, 1024):
        with pytest.raises(InvalidLayerError, match="ends early"):
            read(data[:cut])


def test_damage_is_an_error() -> None:
    data = made.encode_tar([made.file("a", b"1"), made.file("b")])
    with pytest.raises(InvalidLayerError, match="checksum"):
        read(b"X" + data[1:])
    with pytest.raises(InvalidLayerError, match="garbage"):
        read(data + bytes(512) + b"left over")
    with pytest.raises(InvalidLayerError, match="zeros in front"):
        read(bytes(512) + data)
    with pytest.raises(InvalidLayerError, match="unknown type b'Q'"):
        read(made.encode_tar([made.Entry(b"a", b"Q")]))


def test_signed_checksums_of_old_tars_count() -> None:
    record = made.encode_entry(made.file(b"\xff\xfe", form="ustar"))
    signed = sum(record[:512]) - 256 * 2
    fields = record[148:156]
    plain = signed - sum(fields) + 8 * 32
    assert read(record[:148] + b"%06o\0 " % plain + record[156:] + made.END)[0][0].path == b"\xff\xfe"


ENTRIES = st.lists(
    st.builds(
        made.Entry,
        name=st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name),
        content=st.binary(max_size=2000),
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**32),
        gid=st.integers(0, 2**21),
        mtime=st.integers(-(2**40), 2**40),
        form=st.sampled_from(["pax", "gnu"]),
        xattrs=st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary(max_size=30)),
    ),
    max_size=5,
)


@settings(max_examples=60)
@given(ENTRIES, st.integers(1, 3000))
def test_what_is_written_is_read_whatever_the_blocks(entries: list[made.Entry], block_size: int) -> None:
    found = read(made.encode_tar(entries), block_size)
    assert len(found) == len(entries)
    for (entry, content), wanted in zip(found, entries, strict=True):
        assert (entry.path, content, entry.mode) == (wanted.name, wanted.content, wanted.mode)
        assert (entry.uid, entry.gid, entry.mtime_s) == (wanted.uid, wanted.gid, wanted.mtime)
        if wanted.form == "pax":
            assert dict(entry.xattrs) == dict(wanted.xattrs)


@settings(max_examples=150)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40), st.integers(0, 8000))
def test_damaged_tars_give_our_error_or_nothing_worse(at: int, patch: bytes, cut: int) -> None:
    good = made.encode_tar(
        [
            made.file("n" * 200, b"1" * 600, xattrs={b"user.a": b"1"}),
            pax_1_0(b"z" * 5300),
            made.symlink("l", "t"),
        ]
    )
    damaged = good[:at] + patch + good[at + len(patch) :]
    with suppress(InvalidLayerError):
        read(damaged[:cut] if cut < len(damaged) else damaged, 777)
