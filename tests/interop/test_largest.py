"""The largest files and images: converted in bounded memory, and mounted by nydusd.

What they took is printed (`pytest -s`), and bounded with room for other machines.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.limits import MAX_CHUNK_REFS, MAX_MEMORY_BYTES
from converter.options import ConvertOptions
from tests.images.tar import GNU_SPARSE, Entry, directory, file
from tests.interop.largest import Measured, convert_measured, write_image
from tests.peers.mounts import directory_backend, nydusd_mount

MIB = 1 << 20
GIB = 1 << 30

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


def tell(what: str, measured: Measured) -> None:
    print(f"{what}: {measured.seconds:.0f} s, {measured.peak_bytes / MIB:.0f} MiB of memory")


def sparse_file(size: int, pieces: dict[int, bytes]) -> Entry:
    """A file with holes, as GNU tar writes it."""
    extents = (*((offset, len(data)) for offset, data in pieces.items()), (size, 0))
    return Entry(b"sparse", GNU_SPARSE, b"".join(pieces.values()), form="gnu", old_sparse=(size, extents))


@pytest.mark.root
@pytest.mark.interop
def test_a_sparse_file_of_20_gib(tmp_path: Path) -> None:
    size = 20 * GIB
    noise = random.Random(3)
    pieces = {number * 157 * MIB + 512: noise.randbytes(70_144) for number in range(120)}
    pieces[size - 512] = noise.randbytes(512)
    image = write_image(tmp_path / "layer", [sparse_file(size, pieces)])
    measured = convert_measured(image, tmp_path / "converted", ConvertOptions())
    tell("a sparse file of 20 GiB", measured)
    assert measured.peak_bytes < 256 * MIB
    assert sum(path.stat().st_size for path in measured.blobs.iterdir()) < 64 * MIB
    backend = directory_backend(measured.blobs)
    with nydusd_mount(measured.bootstrap, backend, tmp_path / "nydusd", validate=True) as mounted:
        shown = mounted / "sparse"
        assert shown.stat().st_size == size
        with shown.open("rb") as opened:
            for offset, data in pieces.items():
                opened.seek(offset - 512)
                assert (
                    opened.read(512 + len(data) + 512)
                    == bytes(512) + data + bytes(512)[: size - offset - len(data)]
                )
            for _ in range(200):
                offset = noise.randrange(size // MIB // 157) * 157 * MIB + noise.randrange(MIB, 150 * MIB)
                opened.seek(offset)
                assert opened.read(4096) == bytes(4096)


DIRECTORIES = 1000
FILES = 1000  # in each


def content(directory_number: int, number: int) -> bytes:
    """What a file has: most are alike, as in real images; every tenth is not."""
    return b"%d/%d" % (directory_number, number) * 20 if number % 10 == 0 else b"%d" % (number % 100)


def million_files() -> Iterator[Entry]:
    for outer in range(DIRECTORIES):
        yield directory(b"d%04d" % outer, mtime=outer)
        for number in range(FILES):
            name = b"d%04d/file-%06d.txt" % (outer, number)
            yield file(name, content(outer, number), mode=0o600 + number % 64, uid=number, mtime=number)


@pytest.mark.root
@pytest.mark.interop
def test_a_million_files(tmp_path: Path) -> None:
    image = write_image(tmp_path / "layer", million_files())
    measured = convert_measured(image, tmp_path / "converted", ConvertOptions())
    tell("a million files", measured)
    assert measured.files == DIRECTORIES * (FILES + 1)
    assert measured.peak_bytes < 1536 * MIB
    backend = directory_backend(measured.blobs)
    with nydusd_mount(measured.bootstrap, backend, tmp_path / "nydusd", validate=True) as mounted:
        assert sorted(os.listdir(mounted)) == [f"d{number:04d}" for number in range(DIRECTORIES)]
        for outer in range(0, DIRECTORIES, 37):
            listed = sorted(os.listdir(mounted / f"d{outer:04d}"))
            assert listed == [f"file-{number:06d}.txt" for number in range(FILES)]
            for number in range(outer % 7, FILES, 71):
                shown = mounted / f"d{outer:04d}" / listed[number]
                status = shown.stat()
                assert (status.st_mode & 0o7777, status.st_uid) == (0o600 + number % 64, number)
                assert number == 0 or status.st_mtime == number
                assert shown.read_bytes() == content(outer, number)


def test_as_many_chunks_as_an_image_may_have(tmp_path: Path) -> None:
    """A tar of 2 KiB can ask for this much, and not for more."""
    entry = sparse_file((MAX_CHUNK_REFS - 1) * MIB, {})
    image = write_image(tmp_path / "layer", [entry])
    measured = convert_measured(image, tmp_path / "converted", ConvertOptions())
    tell("a hole of 16 TiB", measured)
    assert measured.peak_bytes < MAX_MEMORY_BYTES
