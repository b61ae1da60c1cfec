"""Names, how they are written, and contents: sizes round blocks and chunks, and sparse files."""

from __future__ import annotations

import random

from tests.images.odd.case import Case, case
from tests.images.tar import GNU_SPARSE, Entry, directory, file, pax_records, symlink

_MIB = 1 << 20


def _noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _deep(levels: int) -> str:
    return "/".join(f"level{n}" for n in range(levels))


NAMES: tuple[Case, ...] = (
    case(
        "name-round-the-dot",
        [
            directory("d"),
            *(
                file(f"d/{name}", name.encode())
                for name in (
                    "-x",
                    "+x",
                    "!x",
                    " x",
                    "#",
                    "-",
                    "--",
                    ".x",
                    "..x",
                    "...",
                    ".-",
                    "/x",
                    "0",
                    "A",
                    "a",
                    "~",
                    ",",
                    "*",
                )
            ),
        ],
    ),
    case(
        "name-not-utf8",
        [
            file(b"\xff", b"1"),
            file(b"caf\xe9", b"2"),
            directory(b"\x80d"),
            file(b"\x80d/\xc3\x28", b"3"),
            symlink(b"\xfel", b"\xff"),
        ],
    ),
    case("name-not-utf8-gnu", [file(b"\xff", b"1", form="gnu"), file(b"\xc3" * 120, b"2", form="gnu")]),
    case("name-odd-characters", [file(f"x{c}y", b"odd") for c in "\n\t\\\"'*?$ \x01\x7f:é😀"]),
    case(
        "name-255",
        [
            file("n" * 255, b"255"),
            directory("d" * 255),
            file("d" * 255 + "/" + "f" * 255, b"f"),
            file("é" * 127, b"utf-8"),
        ],
    ),
    case("name-255-gnu", [file("n" * 255, b"255", form="gnu")]),
    case("name-256", [file("n" * 256, b"256")]),
    case("name-ustar-prefix", [file("p" * 100 + "/" + "q" * 60, b"prefix", form="ustar")]),
    case(
        "name-exactly-100",
        [
            file("h" * 76, b"1"),
            file("h" * 70, b"1", form="gnu"),
            file("g" * 100, b"2", form="gnu"),
            file("k" * 101, b"2", form="gnu"),
        ],
    ),
    case("name-deep", [file(_deep(60) + "/f", b"deep")]),
    case("name-over-path-max", [file(_deep(600) + "/f", b"too deep")]),
    case("name-pax-path", [file("short", b"x", records={b"path": b"the/real/name"})]),
    case(
        "name-dots",
        [
            file("./a", b"a"),
            file("b//c", b"c"),
            file("./d/./e", b"e"),
            directory("f/"),
            directory("./g/h///"),
        ],
    ),
    case("name-dotdot-inside", [directory("x"), file("x/../a", b"a")]),
    case("name-dotdot-inside-missing", [file("x/../a", b"a")]),
    case("name-trailing-slash-file", [file("a/", b"a")]),
    case("name-many", [directory("d"), *(file(f"d/entry-{n:05d}", b"%d" % n) for n in range(3000))]),
    case(
        "name-many-long", [directory("d"), *(file(f"d/{n:04d}-{'l' * (n % 250)}", b"l") for n in range(400))]
    ),
    case("name-case", [file("README", b"1"), file("readme", b"2"), file("Readme", b"3")]),
    case("name-unicode-forms", [file("\u00e9", b"composed"), file("e\u0301", b"decomposed")]),
    case(
        "name-nydus-landmarks",
        [
            file(".prefetch.landmark", b"1"),
            file(".no.prefetch.landmark", b"2"),
            file("stargz.index.json", b"{}"),
        ],
    ),
)

CONTENTS: tuple[Case, ...] = (
    case(
        "content-sizes",
        [
            file(f"f{size}", _noise(size, size))
            for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 65536)
        ],
    ),
    case(
        "content-chunks",
        [
            file(f"f{size}", _noise(size, size))
            for size in (_MIB - 1, _MIB, _MIB + 1, 2 * _MIB, 3 * _MIB + 12345)
        ],
    ),
    case("content-zeros", [file("z1", bytes(_MIB)), file("z2", bytes(2 * _MIB + 1)), file("z3", bytes(10))]),
    case(
        "content-repeated",
        [file("a", _noise(300000, 1)), file("b", _noise(300000, 1)), file("c", _noise(_MIB, 2) * 3)],
        [file("d", _noise(300000, 1))],
    ),
    case("content-text", [file("t", b"all work and no play makes jack a dull boy\n" * 60000)]),
    case(
        "size-by-record",
        [Entry(b"a", content=b"real content", records={b"size": b"12"}, size=0), file("after", b"after")],
    ),
    case("size-base-256", [Entry(b"a", content=b"x" * 700, form="gnu"), file("after", b"after")]),
)

_DATA = _noise(4096, 7)
_MAP = ((1024, 512), (8192, 1024))  # two pieces of a file of 20000 bytes
_STORED = _DATA[:1536]


def _sparse_1_0(name: bytes, pieces: tuple[tuple[int, int], ...], stored: bytes, real_size: int) -> Entry:
    """GNU tar's PAX format 1.0: the map stands before the data."""
    numbers = [len(pieces), *(number for piece in pieces for number in piece)]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % 512)
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % real_size,
    }
    return Entry(b"GNUSparseFile.0/" + name.replace(b"/", b"_"), content=table + stored, records=records)


def _sparse_0_1(name: bytes) -> Entry:
    numbers = b",".join(b"%d,%d" % piece for piece in _MAP)
    records = {
        b"GNU.sparse.size": b"20000",
        b"GNU.sparse.numblocks": b"2",
        b"GNU.sparse.map": numbers,
        b"GNU.sparse.name": name,
    }
    return Entry(b"GNUSparseFile.0/" + name, content=_STORED, records=records)


def _sparse_0_0(name: bytes) -> Entry:
    """The oldest: a pair of records, of the same two keys, for each piece."""
    raw = b"".join(
        pax_records({b"GNU.sparse.offset": b"%d" % offset, b"GNU.sparse.numbytes": b"%d" % length})
        for offset, length in _MAP
    )
    records = {b"GNU.sparse.size": b"20000", b"GNU.sparse.numblocks": b"2"}
    return Entry(name, content=_STORED, records=records, raw_records=raw)


SPARSE: tuple[Case, ...] = (
    case("sparse-pax-1.0", [_sparse_1_0(b"s", _MAP, _STORED, 20000), file("after", b"after")]),
    case(
        "sparse-pax-1.0-many",
        [
            _sparse_1_0(b"s", tuple((n * 2048, 16) for n in range(300)), _DATA + _DATA[:704], 700000),
            file("after", b"after"),
        ],
    ),
    case(
        "sparse-pax-1.0-hole", [_sparse_1_0(b"s", ((3 * _MIB, 0),), b"", 3 * _MIB), file("after", b"after")]
    ),
    case("sparse-pax-0.1", [_sparse_0_1(b"s"), file("after", b"after")]),
    case("sparse-pax-0.0", [_sparse_0_0(b"s"), file("after", b"after")]),
    case(
        "sparse-gnu",
        [Entry(b"s", GNU_SPARSE, _STORED, form="gnu", old_sparse=(20000, _MAP)), file("after", b"after")],
    ),
    case(
        "sparse-gnu-extended",
        [
            Entry(
                b"s",
                GNU_SPARSE,
                _DATA[:1600],
                form="gnu",
                old_sparse=(204800, tuple((n * 2048, 16) for n in range(100))),
            ),
            file("after", b"after"),
        ],
    ),
    case(
        "sparse-gnu-hole",
        [
            Entry(b"s", GNU_SPARSE, b"", form="gnu", old_sparse=(5 * _MIB, ((5 * _MIB, 0),))),
            file("after", b"after"),
        ],
    ),
)
