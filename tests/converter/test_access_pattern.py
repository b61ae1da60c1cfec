"""What nydusd recorded, as paths."""

from __future__ import annotations

import json

import pytest

from converter.access_pattern import read_access_pattern
from converter.prefetch import TraceError
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import Compressor, Digester
from converter.rafs5.bootstrap import encode_bootstrap as encode_bootstrap_v5
from converter.tree import FileTree
from tests.converter.rafs.samples import CHUNK_SIZE, TreeBuilder


def sample() -> TreeBuilder:
    builder = TreeBuilder()
    builder.directory(b"d")
    file = builder.file(b"d/a", b"a")
    builder.hardlink(b"z", file)
    builder.file(b"caf\xe9", b"c")
    return builder


def bootstrap(version: int) -> bytes:
    builder = sample()
    encode = encode_bootstrap if version == 6 else encode_bootstrap_v5
    return bytes(
        encode(
            builder.tree, [builder.blob()], compressor=Compressor.NONE, chunk_size=CHUNK_SIZE,
            digester=Digester.BLAKE3, prefetch=(FileTree.ROOT,),
        )
    )  # fmt: skip


def record(ino: int, time_ns: int) -> dict[str, int]:
    return {
        "ino": ino, "nr_read": 1, "first_access_time_secs": time_ns // 10**9,
        "first_access_time_nanos": time_ns % 10**9,
    }  # fmt: skip


# Version 5 numbers names: the root, caf\xe9, d, z, and d/a, which is z. In 6 the root is 128, and takes 5
# times 32 bytes with its names; caf\xe9 takes 3.
@pytest.mark.parametrize(("version", "coffee", "a"), [(5, 2, 4), (6, 133, 136)])
def test_paths_come_in_the_order_of_the_first_reads(version: int, coffee: int, a: int) -> None:
    pattern = [record(coffee, 3_000_000_005), record(a, 2_999_999_999)]
    found = read_access_pattern(json.dumps(pattern).encode(), bootstrap(version))
    assert found == ("/z", "/caf\udce9")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "not a list"),
        (b"[]", "names no file"),
        (b"[1]", "lacks one of"),
        (b'[{"ino": 1}]', "lacks one of"),
        (json.dumps([record(1, 1) | {"ino": "1"}]).encode(), "lacks one of"),
        (json.dumps([record(1, 1) | {"ino": True}]).encode(), "lacks one of"),
        (json.dumps([record(10**30, 1)]).encode(), "of another image"),
    ],
)
def test_something_else_is_refused(pattern: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read_access_pattern(pattern, bootstrap(6))
