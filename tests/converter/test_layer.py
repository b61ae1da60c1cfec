"""Converting whole layers: contents, sameness, errors, and what is left behind."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import InvalidLayerError, LimitExceededError
from converter.layer import convert_layer
from converter.oci import Digest
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from tests.converter.layers import contents, convert, paths
from tests.images import tar as made

NOISE = random.Random(11).randbytes(2_500_000)
SMALL = ConvertOptions(chunk_size=4096)


def files() -> dict[bytes, bytes]:
    """Sizes round the chunk, repeated content, holes."""
    return {
        b"empty": b"",
        b"one": b"1",
        b"chunk": NOISE[: 1 << 20],
        b"chunk+1": NOISE[: (1 << 20) + 1],
        b"again/chunk": NOISE[: 1 << 20],
        b"large": NOISE,
        b"zeros": bytes(3 << 20),
        b"text": b"all work and no play\n" * 70_000,
        **{b"d/%d" % n: NOISE[n : n + n * 7] for n in range(600)},
    }


def layer_tar() -> bytes:
    return made.encode_tar([made.file(name, content) for name, content in files().items()])


def leftovers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(("compress", "read-layer"))]


@pytest.mark.parametrize(
    "options",
    [ConvertOptions(), SMALL, ConvertOptions(compressor="none"),
     ConvertOptions(compressor="none", kernel_mountable=True)],
    ids=["zstd", "small", "none", "kernel"],
)  # fmt: skip
def test_every_file_can_be_read_back(options: ConvertOptions, tmp_path: Path) -> None:
    data = layer_tar()
    layer = convert(data, tmp_path, options)
    wanted = files()
    assert contents(layer) == {**wanted}
    assert layer.diff_id == Digest.of(data)
    stats = layer.stats
    assert (stats.entries, stats.tar_size, stats.stored_size) == (len(wanted), len(data), len(data))
    assert stats.file_size == sum(map(len, wanted.values()))
    assert stats.chunk_refs == sum(-(-len(content) // options.chunk_size) for content in wanted.values())


def test_chunks_are_stored_once(tmp_path: Path) -> None:
    one = NOISE[: 1 << 20]
    entries = [
        made.file("a", one),
        made.file("b", one * 2 + b"tail"),
        made.file("c", b"tail"),
        made.file("d", one),
    ]
    layer = convert(made.encode_tar([*entries, made.file("z", bytes(2 << 20))]), tmp_path)
    assert list(layer.tree.chunk_refs) == [0, 0, 0, 1, 1, 0, 2, 2]
    assert list(layer.blob.chunks.uncompressed_size) == [1 << 20, 4, 1 << 20]


def test_links_share_content_and_replaced_files_keep_theirs(tmp_path: Path) -> None:
    entries = [
        made.file("a", b"old"),
        made.hardlink("b", "a"),
        made.file("a", b"new"),
        made.hardlink("c/d", "a"),
    ]
    layer = convert(made.encode_tar(entries), tmp_path)
    assert contents(layer) == {b"a": b"new", b"b": b"old", b"c/d": b"new"}
    found = paths(layer.tree)
    assert found[b"a"] == found[b"c/d"]


def test_the_blob_depends_on_nothing_but_tar_and_options(tmp_path: Path) -> None:
    """Not on threads, the pieces that reads return, or how the layer was compressed."""
    data = layer_tar()
    wanted = convert(data, tmp_path).blob.digest
    for threads in (1, 2, 5):
        assert convert(data, tmp_path, ConvertOptions(threads=threads)).blob.digest == wanted
    for stored in (
        gzip.compress(data, 1),
        zstandard.compress(data),
        gzip.compress(data[:99]) + gzip.compress(data[99:]),
    ):
        layer = convert(stored, tmp_path)
        assert (layer.blob.digest, layer.diff_id) == (wanted, Digest.of(data))
    for step in (30_001, 65_537):
        layer = convert_layer(cast(BinaryIO, Dribble(data, step)), tmp_path, ConvertOptions(), NO_PROGRESS)
        assert layer.blob.digest == wanted
    assert [path.name for path in tmp_path.iterdir()] == [wanted.hex]


class Dribble:
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._rest = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._rest.read(min(size, self._step))


class Failing:
    """Raises at its end, as a source does that finds a wrong digest there."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        if data := self._rest.read(size):
            return data
        raise ConnectionError("the digest is wrong")


GOOD = made.encode_tar([made.file("a", NOISE), made.file("b", b"b")])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(GOOD)[:-9], "truncated"),
        (gzip.compress(GOOD)[:100_000], "truncated"),
        (zstandard.compress(GOOD)[:-3], "truncated"),
        (gzip.compress(GOOD) + b"more", "garbage"),
        (GOOD[:1_000_000], "ends early"),
        (GOOD[:700], "ends early"),
        (made.encode_tar([made.file("a", NOISE), made.file("../b", b"b")]), r"'\.\.'"),
        (made.encode_tar([made.file("a", NOISE), made.file("/b", b"b")]), "absolute"),
        (made.encode_tar([made.file("a", NOISE), made.Entry(b"b", b"Z")]), "unknown type"),
        (GOOD[:-2048] + b"\xff" * 100 + GOOD[-1948:], "checksum"),
        (b"no tar at all, but longer than one record" * 20, "checksum"),
    ],
)
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_damaged_layers_are_refused_and_leave_nothing(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidLayerError, match=reason) as caught:
        convert(data, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert not leftovers()


def test_errors_of_the_source_pass_through_and_leave_nothing(tmp_path: Path) -> None:
    """Also the one at the very end, when all of the tar has been read."""
    for data in (GOOD, gzip.compress(GOOD), zstandard.compress(GOOD), GOOD[:2_000_000]):
        with pytest.raises(ConnectionError, match="the digest is wrong"):
            convert_layer(cast(BinaryIO, Failing(data)), tmp_path, ConvertOptions(), NO_PROGRESS)
        assert not list(tmp_path.iterdir())
        assert not leftovers()


class Recording:
    """Keeps what it is told, and stops everything when told to."""

    def __init__(self, stop: Callable[[int], bool] = lambda _: False) -> None:
        self.seen: list[tuple[str, int, int | None]] = []
        self._stop = stop

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        self.seen.append((stage, done_bytes, total_bytes))
        if self._stop(done_bytes):
            raise KeyboardInterrupt


def test_progress_counts_stored_bytes_up_to_the_end(tmp_path: Path) -> None:
    data, progress = gzip.compress(GOOD), Recording()
    convert_layer(io.BytesIO(data), tmp_path, ConvertOptions(), progress)
    done = [count for _, count, _ in progress.seen]
    assert done == sorted(done)
    assert progress.seen[-1] == ("layer", len(data), None)


def test_progress_can_stop_it(tmp_path: Path) -> None:
    progress = Recording(lambda done: done > 0)
    with pytest.raises(KeyboardInterrupt):
        convert_layer(io.BytesIO(GOOD * 3), tmp_path, ConvertOptions(), progress)
    assert len(progress.seen) == 1
    assert not list(tmp_path.iterdir())
    assert not leftovers()


def test_a_spool_directory_that_is_not_there_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        convert(GOOD, tmp_path / "missing")
    assert not leftovers()


def test_an_empty_layer_works(tmp_path: Path) -> None:
    for data in (b"", bytes(1024), gzip.compress(bytes(1024))):
        layer = convert(data, tmp_path)
        assert (len(layer.tree), len(layer.blob.chunks), layer.stats.entries) == (1, 0, 0)


def sparse_header(size: int) -> made.Entry:
    return made.Entry(b"s", made.GNU_SPARSE, b"", form="gnu", old_sparse=(size, ((size, 0),)))


def test_huge_holes_cost_one_chunk(tmp_path: Path) -> None:
    layer = convert(made.encode_tar([sparse_header(1 << 36)]), tmp_path)
    assert len(layer.blob.chunks) == 1
    assert set(layer.tree.chunk_refs) == {0}
    assert layer.tree.size[1] == 1 << 36 == layer.stats.file_size


def test_absurd_holes_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(LimitExceededError, match="chunks"):
        convert(made.encode_tar([made.file("a", b"1"), sparse_header(1 << 62)]), tmp_path)
    assert not list(tmp_path.iterdir())


NAMES = st.lists(
    st.sampled_from([b"a", b"b", b"\xff", b"-", b"c d", b"\xc3\xa9"]), min_size=1, max_size=3
).map(b"/".join)
TREES = st.dictionaries(NAMES, st.binary(max_size=40).map(lambda seed: seed * 300), max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    TREES,
    st.sampled_from(["pax", "gnu"]),
    st.sampled_from([SMALL, ConvertOptions(chunk_size=4096, compressor="none")]),
)
def test_any_tree_comes_back(tree: dict[bytes, bytes], form: made.Form, options: ConvertOptions) -> None:
    wanted = {path: data for path, data in tree.items() if not any(p.startswith(path + b"/") for p in tree)}
    data = made.encode_tar(made.file(path, content, form=form) for path, content in wanted.items())
    with tempfile.TemporaryDirectory() as spool:
        assert contents(convert(data, Path(spool), options)) == wanted


MEMORY = """
import io, sys
from pathlib import Path
from converter.layer import convert_layer
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS
from tests.images import tar as made
from tests.memory import peak_bytes
SIZE = 256 << 20

class Stream:
    head, count = made.encode_entry(made.Entry(b"big", size=SIZE)), 0
    block = bytes(range(256)) * 1024

    def read(self, size):
        if self.head:
            data, self.head = self.head, b""
            return data
        self.count += 1
        left = SIZE // len(self.block) - self.count
        # The start of each block differs, so that no chunk repeats.
        return self.count.to_bytes(8, "big") + self.block[8:] if left >= 0 else b""

convert_layer(io.BytesIO(b""), Path(sys.argv[1]), ConvertOptions(), NO_PROGRESS)
before = peak_bytes()
layer = convert_layer(Stream(), Path(sys.argv[1]), ConvertOptions(threads=2), NO_PROGRESS)
assert len(layer.blob.chunks) == SIZE >> 20
print(peak_bytes() - before)
"""


def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 150 << 20
