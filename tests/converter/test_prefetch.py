"""What goes into a prefetch table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.options import ConvertOptions
from converter.prefetch import TraceError, find_prefetched, read_trace
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import ROOT_NID, Compressor
from converter.rafs.reader import read_bootstrap
from converter.rafs.records import ExtendedSuperBlock
from tests.converter.rafs.samples import CHUNK_SIZE, TreeBuilder


def sample() -> tuple[TreeBuilder, dict[str, int]]:
    builder = TreeBuilder()
    inodes = {
        "/": builder.tree.ROOT,
        "/usr": builder.directory(b"usr"),
        "/usr/bin": builder.directory(b"usr/bin"),
        "/usr/bin/dash": builder.file(b"usr/bin/dash", b"dash"),
        "/usr/lib": builder.directory(b"usr/lib"),
        "/usr/lib/libc": builder.file(b"usr/lib/libc", b"libc" * 9000),
        "/usr/empty": builder.file(b"usr/empty"),
        "/usr/caf\udce9": builder.file(b"usr/caf\xe9", b"coffee"),
    }
    builder.symlink(b"bin", b"usr/bin")
    builder.symlink(b"usr/bin/sh", b"dash")
    builder.symlink(b"usr/absolute", b"/bin/../lib/./libc")
    builder.symlink(b"usr/up", b"../../../usr/lib/libc")
    builder.symlink(b"loop", b"loop")
    builder.special(b"usr/fifo", 0o010644)
    return builder, inodes


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ((), ()),
        (("/",), ("/",)),
        (("/usr/lib/libc", "/usr/bin/dash"), ("/usr/lib/libc", "/usr/bin/dash")),
        (("/usr/bin/dash", "/usr/lib/libc"), ("/usr/bin/dash", "/usr/lib/libc")),
        (("/usr/lib", "/usr/lib/libc"), ("/usr/lib",)),
        (("/usr/lib/libc", "/usr/lib"), ("/usr/lib/libc", "/usr/lib")),
        (("/", "/usr/lib"), ("/",)),
        (("/usr/nothing", "/usr/bin/dash/below", "/usr/empty", "/usr/fifo"), ()),
        (("/bin/sh", "/usr/bin/dash"), ("/usr/bin/dash",)),
        (("/usr/absolute",), ("/usr/lib/libc",)),
        (("/usr/up",), ("/usr/lib/libc",)),
        (("/loop", "/loop/x"), ()),
        (("/usr/caf\udce9",), ("/usr/caf\udce9",)),
    ],
)
def test_found(paths: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    builder, inodes = sample()
    assert find_prefetched(builder.tree, paths) == [inodes[path] for path in wanted]


def test_the_table_has_the_nids_in_order() -> None:
    """More entries than fit into the rest of the blob table's block move everything behind them."""
    builder, inodes = sample()
    listed = [inodes["/usr/lib/libc"], *[builder.file(b"f%04d" % n, b"%d" % n) for n in range(2000)], 0]
    data = encode_bootstrap(
        builder.tree, [builder.blob()], compressor=Compressor.NONE, chunk_size=CHUNK_SIZE, prefetch=listed
    )
    extended = ExtendedSuperBlock.decode(bytes(data[1152:1408]))
    assert extended.prefetch_table_size == 4 * len(listed)
    assert extended.prefetch_table_offset == extended.blob_table_offset + 256
    table = np.frombuffer(data, "<u4", len(listed), extended.prefetch_table_offset)
    assert table[-1] == ROOT_NID
    assert len(set(table.tolist())) == len(listed)
    meta = int.from_bytes(data[1024 + 40 : 1024 + 44], "little") * 4096
    sizes = [int.from_bytes(data[meta + 32 * nid + 8 :][:8], "little") for nid in table.tolist()]
    assert sizes[:3] == [36_000, 1, 1]
    assert read_bootstrap(data).name_count == 2013


def test_nothing_to_fetch_gives_no_table() -> None:
    builder, _ = sample()
    for blobs, prefetch in (([builder.blob()], []), ([], [0])):
        tree = builder.tree if blobs else TreeBuilder().tree
        data = encode_bootstrap(
            tree, blobs, compressor=Compressor.NONE, chunk_size=CHUNK_SIZE, prefetch=prefetch
        )
        extended = ExtendedSuperBlock.decode(bytes(data[1152:1408]))
        assert (extended.prefetch_table_offset, extended.prefetch_table_size) == (0, 0)
        read_bootstrap(data)


def test_a_trace() -> None:
    lines = [b"# of a start\n", b"/usr/lib/libc\r\n", b"\n", b"/a b\n", b"/usr/lib/libc\n", b"/caf\xe9"]
    paths = read_trace(lines)
    assert paths == ("/usr/lib/libc", "/a b", "/caf\udce9")
    assert ConvertOptions(prefetch=paths).fingerprint() != ConvertOptions(prefetch=paths[:2]).fingerprint()


@pytest.mark.parametrize("line", [b"usr/lib\n", b"/usr//lib\n", b"/usr/../lib\n", b"/usr\0\n", b"/usr/\n"])
def test_a_trace_with_something_else_in_it(line: bytes) -> None:
    with pytest.raises(TraceError, match="line 2 "):
        read_trace([b"/usr\n", line])


@pytest.mark.parametrize("lines", [[], [b"\n"], [b"# of a start\n", b"\n"]])
def test_a_trace_without_a_path_does_not_mean_everything(lines: list[bytes]) -> None:
    with pytest.raises(TraceError, match="the trace names no path"):
        read_trace(lines)


def test_a_trace_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(b"/b\n/a\n")
    with (tmp_path / "trace").open("rb") as file:
        assert read_trace(file) == ("/b", "/a")
