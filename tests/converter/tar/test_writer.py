"""The tar writer: what it writes, the tar reader reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from converter.tar import ByteSource, Entry, EntryType, TarReader
from converter.tar.writer import END, encode_header

NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: not {0, 0x2F} & set(name) and name != b".")


@given(
    path=NAMES,
    kind=st.sampled_from([kind for kind in EntryType if kind is not EntryType.FILE]),
    mode=st.integers(0, 0o7777),
    owner=st.tuples(st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2)),
    time=st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 10**9 - 1)),
    link=NAMES,
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
    xattrs=st.dictionaries(
        NAMES.filter(lambda name: b"=" not in name), st.binary(max_size=2000), max_size=3
    ).map(lambda found: tuple(sorted(found.items()))),
)
def test_every_entry_comes_back(
    path: bytes,
    kind: EntryType,
    mode: int,
    owner: tuple[int, int],
    time: tuple[int, int],
    link: bytes,
    device: tuple[int, int],
    xattrs: tuple[tuple[bytes, bytes], ...],
) -> None:
    major, minor = device if kind in (EntryType.CHARACTER_DEVICE, EntryType.BLOCK_DEVICE) else (0, 0)
    linkname = link if kind in (EntryType.HARDLINK, EntryType.SYMLINK) else b""
    entry = Entry(path, kind, mode, *owner, 0, *time, linkname, major, minor, xattrs)
    (read,) = TarReader(ByteSource(iter([encode_header(entry) + END])))
    assert read._replace(path=read.path.rstrip(b"/")) == entry._replace(path=path.rstrip(b"/"))


def test_the_size_of_a_large_file_comes_back() -> None:
    entry = Entry(b"large", EntryType.FILE, 0o644, 0, 0, 20 << 33, 0, 0, b"", 0, 0, ())
    reader = iter(TarReader(ByteSource(iter([encode_header(entry)]))))
    assert next(reader) == entry
