"""Chunk lists beside the blobs, in both kinds of store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError, StoreConfigurationError, StoreUnavailableError
from p2p_seed.store import MAX_LIST_BYTES, ChunkLists, open_chunk_lists
from p2p_seed.store.keys import chunk_list_key
from tests.p2p_seed.store.backends import Backend, DirectoryBackend, S3Backend, access_to, write_blob

BLOB = Digest.of(b"a blob")
OTHER = Digest.of(b"another blob")
KEY = f"dragonhook/chunk-lists/sha256/{BLOB.hex[:2]}/{BLOB.hex}"


@pytest.fixture
def lists(backend: Backend) -> ChunkLists:
    if isinstance(backend, DirectoryBackend):
        return open_chunk_lists(f"filesystem:{backend.root}")
    assert isinstance(backend, S3Backend)
    return open_chunk_lists(f"s3://{backend.bucket}/{backend.prefix}", access_to(backend.server))


def test_what_was_put_is_read(lists: ChunkLists, backend: Backend) -> None:
    assert lists.get(BLOB) is None
    for content in (b"a list", b"", bytes(300_000)):
        lists.put(BLOB, content)
        assert lists.get(BLOB) == content
    assert lists.get(OTHER) is None
    assert backend.everything() == [KEY]


def test_a_list_that_is_put_again_replaces_the_other(lists: ChunkLists, backend: Backend) -> None:
    for content in (b"spoilt", b"right", b"right"):
        lists.put(BLOB, content)
    assert lists.get(BLOB) == b"right"
    assert backend.everything() == [KEY]


def test_lists_are_no_blobs(lists: ChunkLists, backend: Backend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    backend.store.put(digest, source)
    lists.put(digest, b"its list")
    assert list(backend.store.digests()) == [digest]
    backend.store.delete(digest)
    assert lists.get(digest) == b"its list"


def test_writers_of_one_list_leave_one_whole_list(lists: ChunkLists, backend: Backend) -> None:
    contents = [bytes([number]) * 100_000 for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda content: lists.put(BLOB, content), contents))
    assert lists.get(BLOB) in contents
    assert backend.everything() == [KEY]


def test_what_no_reader_would_take_is_not_stored(lists: ChunkLists, backend: Backend) -> None:
    with pytest.raises(ValueError, match="at most"):
        lists.put(BLOB, bytes(MAX_LIST_BYTES + 1))
    assert backend.everything() == []


def test_an_endless_file_in_a_lists_place(directory_backend: DirectoryBackend) -> None:
    lists = open_chunk_lists(f"filesystem:{directory_backend.root}")
    lists.put(BLOB, b"right")
    os.truncate(directory_backend.root / KEY, MAX_LIST_BYTES + 1)
    with pytest.raises(CorruptBlobError, match="no chunk list"):
        lists.get(BLOB)
    lists.put(BLOB, b"right")
    assert lists.get(BLOB) == b"right"


def test_a_directory_in_a_lists_place(directory_backend: DirectoryBackend) -> None:
    (directory_backend.root / KEY).mkdir(parents=True)
    with pytest.raises(CorruptBlobError, match="ordinary file"):
        open_chunk_lists(f"filesystem:{directory_backend.root}").get(BLOB)


def test_a_missing_root_is_not_a_store_without_lists(tmp_path: Path) -> None:
    lists = open_chunk_lists(f"filesystem:{tmp_path / 'not mounted'}")
    attempts: list[Callable[[], object]] = [lambda: lists.get(BLOB), lambda: lists.put(BLOB, b"a list")]
    for attempt in attempts:
        with pytest.raises(StoreUnavailableError, match="not mounted"):
            attempt()
    assert not (tmp_path / "not mounted").exists()


def test_a_list_is_durable_before_it_is_seen(
    directory_backend: DirectoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def recorded_replace(source: Path, target: Path) -> None:
        calls.append(f"replace {target}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    open_chunk_lists(f"filesystem:{directory_backend.root}").put(BLOB, b"a list")
    target = directory_backend.root / chunk_list_key(BLOB)
    above = [str(parent) for parent in target.parents if parent.is_relative_to(directory_backend.root)]
    assert calls[0].startswith(f"{directory_backend.root}/.incoming/")
    assert calls[1:] == [f"replace {target}", *above]


# Puts a list, and is killed when its content is written but has no name yet.
KILLED_PUT = """
import os, signal, sys
from converter.oci import Digest
from p2p_seed.store import open_chunk_lists
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
open_chunk_lists(sys.argv[1]).put(Digest(sys.argv[2]), b"new")
"""


def test_a_killed_put_leaves_the_list_of_before(directory_backend: DirectoryBackend) -> None:
    location = f"filesystem:{directory_backend.root}"
    lists = open_chunk_lists(location)
    lists.put(BLOB, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_PUT, location, BLOB.hex], check=False)
    assert done.returncode < 0
    assert lists.get(BLOB) == b"old"
    lists.put(OTHER, b"cleans up")
    assert directory_backend.everything() == sorted([KEY, chunk_list_key(OTHER)])


@pytest.mark.peers
def test_a_missing_bucket_is_not_a_store_without_lists(s3_backend: S3Backend) -> None:
    lists = open_chunk_lists("s3://nobody-made-this", access_to(s3_backend.server))
    attempts: list[Callable[[], object]] = [lambda: lists.get(BLOB), lambda: lists.put(BLOB, b"a list")]
    for attempt in attempts:
        with pytest.raises(StoreConfigurationError, match="nobody-made-this"):
            attempt()


@pytest.mark.parametrize("location", ["filesystem:relative", "s3://", "ftp://somewhere"])
def test_locations_that_are_none(location: str) -> None:
    with pytest.raises(StoreConfigurationError):
        open_chunk_lists(location)
