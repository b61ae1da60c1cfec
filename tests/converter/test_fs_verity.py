"""fs-verity digests: those of `fsverity`, and of the kernel where it is built with them."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from converter.fs_verity import BLOCK_SIZE, FsVerity, fs_verity_of
from tests.peers.programs import run_program

_HASHES = BLOCK_SIZE // 32
SIZES = [
    0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE,
    # One level, a full one, the first block of a second one, a full second one, and three levels.
    _HASHES * BLOCK_SIZE - 1, _HASHES * BLOCK_SIZE, _HASHES * BLOCK_SIZE + 1,
    (3 * _HASHES + 7) * BLOCK_SIZE + 5, _HASHES**2 * BLOCK_SIZE, _HASHES**2 * BLOCK_SIZE + 1,
]  # fmt: skip

# linux/fsverity.h: _IOW('f', 133, struct fsverity_enable_arg) and _IOWR('f', 134, struct fsverity_digest)
_ENABLE, _MEASURE = 0x40806685, 0xC0046686
_ENABLE_ARGUMENT = struct.pack("<IIIIQIIQ88x", 1, 1, BLOCK_SIZE, 0, 0, 0, 0, 0)


def write(path: Path, size: int) -> Path:
    """A file of noise at its ends and of holes between, so that large ones are cheap."""
    noise = random.Random(size).randbytes(min(size, 100_000))
    with path.open("wb") as file:
        file.write(noise)
        if size > len(noise):
            file.seek(size - 10)
            file.write(noise[:10])
    assert path.stat().st_size == size
    return path


@pytest.mark.peers
@pytest.mark.parametrize("size", SIZES)
def test_the_digest_is_that_of_fsverity(size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "file", size)
    assert run_program("fsverity", "digest", "--compact", path).strip() == fs_verity_of(path).hex


def test_pieces_do_not_matter() -> None:
    content = random.Random(1).randbytes(1_500_000)
    whole = FsVerity()
    whole.update(content)
    expected = whole.digest()
    for seed in range(5):
        rng, pieces, start = random.Random(seed), FsVerity(), 0
        while start < len(content):
            length = rng.choice((0, 1, 31, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 300_000))
            pieces.update(content[start : start + length])
            start += length
        assert pieces.digest() == expected


def test_an_empty_file_has_a_digest_of_its_own() -> None:
    assert str(FsVerity().digest()) == (
        "sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
    )


@pytest.mark.root
def test_the_kernel_measures_the_same(tmp_path: Path) -> None:
    """On an ext4 with the feature, in a file; few kernels in virtual machines are built with fs-verity."""
    image, mounted = tmp_path / "ext4", tmp_path / "mnt"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "verity", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        for size in SIZES[:-2]:
            path = write(mounted / str(size), size)
            assert measured(path) == fs_verity_of(path).hex
    finally:
        subprocess.run(["umount", mounted], check=True)


def measured(path: Path) -> str:
    """Switches fs-verity on and asks for the digest."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _ENABLE, _ENABLE_ARGUMENT)
        answer = bytearray(struct.pack("<HH64x", 0, 64))
        fcntl.ioctl(descriptor, _MEASURE, answer)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this kernel is built without CONFIG_FS_VERITY")
        raise
    finally:
        os.close(descriptor)
    algorithm, length = struct.unpack_from("<HH", answer)
    assert (algorithm, length) == (1, 32)
    return bytes(answer[4:36]).hex()
