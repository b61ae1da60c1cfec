"""The contract of `BlobStore`, which every store must keep."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from converter.oci import Digest
from p2p_seed.errors import (
    BlobNotFoundError,
    BlobRangeError,
    CorruptBlobError,
    DigestMismatchError,
    SourceUnreadableError,
)
from p2p_seed.store import PIECE_BYTES, BlobStore
from p2p_seed.store.keys import blob_key
from tests.p2p_seed.store.backends import SMALL_PART_BYTES, Backend, write_blob

# Nothing, little, and what needs two pieces to read and two parts to upload (the second a short one).
SIZES = [0, 1, 100_000, SMALL_PART_BYTES, SMALL_PART_BYTES + 12_345]
MISSING = Digest.of(b"nobody stored this")


def noise(size_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_what_was_put_is_read(backend: Backend, tmp_path: Path, size_bytes: int) -> None:
    content = noise(size_bytes)
    digest, source = write_blob(tmp_path, content)
    assert backend.store.put(digest, source) is True
    assert backend.store.size(digest) == size_bytes
    pieces = list(backend.store.read(digest))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    assert list(backend.store.digests()) == [digest]
    assert backend.everything() == [blob_key(digest)]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_a_second_put_changes_nothing(backend: Backend, tmp_path: Path, size_bytes: int) -> None:
    digest, source = write_blob(tmp_path, noise(size_bytes))
    assert [backend.store.put(digest, source) for _ in range(3)] == [True, False, False]
    assert backend.everything() == [blob_key(digest)]


def test_many_blobs_are_listed(backend: Backend, tmp_path: Path) -> None:
    blobs = [write_blob(tmp_path, noise(10, seed)) for seed in range(20)]
    for digest, source in blobs:
        backend.store.put(digest, source)
    assert sorted(backend.store.digests()) == sorted(digest for digest, _ in blobs)


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (0, 5000),
        (4999, 1),
        (17, 4000),
        (17, None),
        (0, None),
        (5000, 0),
        (5000, None),
        (0, 0),
        (17, 0),
    ],
)
def test_ranges_are_exact(backend: Backend, tmp_path: Path, start: int, length: int | None) -> None:
    content = noise(5000)
    digest, source = write_blob(tmp_path, content)
    backend.store.put(digest, source)
    end = 5000 if length is None else start + length
    assert b"".join(backend.store.read(digest, start, length)) == content[start:end]


@pytest.mark.parametrize(
    ("start", "length"), [(5001, None), (5001, 0), (0, 5001), (4999, 2), (-1, 1), (5, -1)]
)
def test_ranges_outside_the_blob_are_refused(
    backend: Backend, tmp_path: Path, start: int, length: int | None
) -> None:
    digest, source = write_blob(tmp_path, noise(5000))
    backend.store.put(digest, source)
    with pytest.raises(BlobRangeError):
        list(backend.store.read(digest, start, length))


def test_an_abandoned_read_harms_nothing(backend: Backend, tmp_path: Path) -> None:
    content = noise(SIZES[-1])
    digest, source = write_blob(tmp_path, content)
    store = backend.store
    store.put(digest, source)
    for _ in range(40):  # More often than an S3 client keeps connections.
        with closing(store.read(digest)) as pieces:
            assert next(pieces) == content[:PIECE_BYTES]
    assert b"".join(store.read(digest)) == content


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 0), (5, 10)])
def test_a_missing_blob(backend: Backend, start: int, length: int | None) -> None:
    assert backend.store.size(MISSING) is None
    assert list(backend.store.digests()) == []
    backend.store.delete(MISSING)
    with pytest.raises(BlobNotFoundError):
        list(backend.store.read(MISSING, start, length))


def test_a_deleted_blob_can_be_put_again(backend: Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    backend.store.put(digest, source)
    backend.store.delete(digest)
    assert backend.store.size(digest) is None
    assert list(backend.store.digests()) == []
    assert backend.store.put(digest, source) is True
    assert b"".join(backend.store.read(digest)) == b"content"


@pytest.mark.parametrize("size_bytes", SIZES)
def test_wrong_content_is_refused(backend: Backend, tmp_path: Path, size_bytes: int) -> None:
    _, source = write_blob(tmp_path, noise(size_bytes))
    with pytest.raises(DigestMismatchError, match=MISSING.hex):
        backend.store.put(MISSING, source)
    assert backend.store.size(MISSING) is None
    assert backend.everything() == []


def test_a_source_that_is_gone(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError):
        backend.store.put(MISSING, tmp_path / "gone")
    assert backend.everything() == []


def test_a_stored_blob_of_another_length_is_reported(backend: Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"the real content")
    backend.overwrite(digest, b"short")
    with pytest.raises(CorruptBlobError, match="5 bytes, but has 16"):
        backend.store.put(digest, source)
    _, other = write_blob(tmp_path, b"something else that is long")
    with pytest.raises(DigestMismatchError):
        backend.store.put(digest, other)


def put_at_once(store: BlobStore, barrier: threading.Barrier, digest: Digest, source: Path) -> bool:
    barrier.wait()
    return store.put(digest, source)


@pytest.mark.parametrize("size_bytes", [100_000, SIZES[-1]])
def test_of_eight_racing_puts_one_stores(backend: Backend, tmp_path: Path, size_bytes: int) -> None:
    content = noise(size_bytes)
    digest, source = write_blob(tmp_path, content)
    for _ in range(3):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            racers = [pool.submit(put_at_once, backend.store, barrier, digest, source) for _ in range(8)]
            results = [racer.result() for racer in racers]
        assert sorted(results) == [False] * 7 + [True]
        assert b"".join(backend.store.read(digest)) == content
        assert backend.everything() == [blob_key(digest)]
        backend.store.delete(digest)


def test_a_racing_put_of_wrong_content_never_wins(backend: Backend, tmp_path: Path) -> None:
    content = noise(100_000)
    digest, right = write_blob(tmp_path, content)
    _, wrong = write_blob(tmp_path, noise(100_000, seed=1))

    def put(source: Path) -> None:
        try:
            backend.store.put(digest, source)
        except DigestMismatchError:
            assert source == wrong

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [wrong, right] * 8))
    assert b"".join(backend.store.read(digest)) == content
    assert backend.everything() == [blob_key(digest)]
