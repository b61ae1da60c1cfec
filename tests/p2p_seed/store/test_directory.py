"""What only the directory store promises: durability, and recovery from puts that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from converter.oci import Digest
from p2p_seed.errors import (
    BlobNotFoundError,
    CorruptBlobError,
    StoreConfigurationError,
    StoreError,
    StoreUnavailableError,
)
from p2p_seed.store import DirectoryStore
from p2p_seed.store.keys import blob_key
from tests.p2p_seed.store.backends import DirectoryBackend, write_blob

NOW = datetime.now(UTC)

# Puts a blob, and is killed at the moment when its content is written but not yet durable.
KILLED_PUT = """
import os, signal, sys
from pathlib import Path
from converter.oci import Digest
from p2p_seed.store import DirectoryStore
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
DirectoryStore(Path(sys.argv[1])).put(Digest(sys.argv[2]), Path(sys.argv[3]))
"""


def killed_put(root: Path, digest: Digest, source: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_PUT, root, digest.hex, source], check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_put_shows_nothing_and_the_next_one_cleans_up(
    directory_backend: DirectoryBackend, tmp_path: Path
) -> None:
    digest, source = write_blob(tmp_path, b"content")
    killed_put(directory_backend.root, digest, source)
    leftovers = directory_backend.everything()
    assert len(leftovers) == 1
    assert leftovers[0].startswith(".incoming/")
    assert directory_backend.store.size(digest) is None
    assert list(directory_backend.store.digests()) == []

    other, other_source = write_blob(tmp_path, b"something else")
    assert directory_backend.store.put(other, other_source) is True
    assert directory_backend.everything() == [blob_key(other)]
    assert directory_backend.store.put(digest, source) is True


def test_leftovers_can_be_removed_without_a_put(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    assert directory_backend.store.remove_leftovers(NOW) == 0
    digest, source = write_blob(tmp_path, b"content")
    for _ in range(3):
        killed_put(directory_backend.root, digest, source)
    # Each put removes what the one before it left, so one is there.
    assert directory_backend.store.remove_leftovers(NOW) == 1
    assert directory_backend.everything() == []


def test_a_running_put_is_no_leftover(
    directory_backend: DirectoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, source = write_blob(tmp_path, b"content")
    written, may_go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        written.set()
        assert may_go_on.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    results: list[bool] = []
    putting = threading.Thread(target=lambda: results.append(directory_backend.store.put(digest, source)))
    putting.start()
    assert written.wait(10)
    assert directory_backend.store.remove_leftovers(NOW) == 0
    may_go_on.set()
    putting.join(10)
    assert results == [True]
    assert b"".join(directory_backend.store.read(digest)) == b"content"


def record_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Records what is fsynced and linked, in order."""
    calls: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def recorded_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def recorded_link(source: Path, target: Path) -> None:
        calls.append(("link", str(target)))
        link(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "link", recorded_link)
    return calls


def test_the_file_is_synced_before_it_is_visible_and_all_directories_after(
    directory_backend: DirectoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, source = write_blob(tmp_path, b"content")
    calls = record_calls(monkeypatch)
    directory_backend.store.put(digest, source)
    root = str(directory_backend.root)
    target = directory_backend.root / blob_key(digest)
    assert calls[0][0] == "fsync"
    assert calls[0][1].startswith(f"{root}/.incoming/")
    assert calls[1] == ("link", str(target))
    above = [str(parent) for parent in target.parents if str(parent).startswith(root)]
    assert calls[2:] == [("fsync", directory) for directory in above]


def test_a_blob_that_is_there_is_made_durable_too(
    directory_backend: DirectoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, source = write_blob(tmp_path, b"content")
    directory_backend.store.put(digest, source)
    calls = record_calls(monkeypatch)
    assert directory_backend.store.put(digest, source) is False
    synced = [path for _, path in calls]
    assert str((directory_backend.root / blob_key(digest)).parent) in synced
    assert str(directory_backend.root) in synced


def test_the_path_is_distributions(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    directory_backend.store.put(digest, source)
    below = f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    assert (directory_backend.root / below).read_bytes() == b"content"


def test_the_source_is_copied_and_stays(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    directory_backend.store.put(digest, source)
    source.write_bytes(b"changed")
    assert b"".join(directory_backend.store.read(digest)) == b"content"


def test_a_missing_root_is_not_an_empty_store(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "not mounted")
    digest, source = write_blob(tmp_path, b"content")
    attempts: list[Callable[[], object]] = [
        lambda: store.size(digest),
        lambda: store.open_file(digest),
        lambda: list(store.read(digest)),
        lambda: list(store.digests()),
        lambda: store.put(digest, source),
        lambda: store.delete(digest),
        lambda: store.remove_leftovers(NOW),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnavailableError, match="not mounted"):
            attempt()
    assert not (tmp_path / "not mounted").exists()


def test_a_full_disk_leaves_nothing(
    directory_backend: DirectoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, source = write_blob(tmp_path, b"content")

    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        directory_backend.store.put(digest, source)
    monkeypatch.undo()
    assert directory_backend.everything() == []


def test_a_refused_write_is_for_the_operator(
    directory_backend: DirectoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, source = write_blob(tmp_path, b"content")

    def read_only(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "link", read_only)
    with pytest.raises(StoreConfigurationError, match="Read-only"):
        directory_backend.store.put(digest, source)


def test_a_file_cut_short_while_it_is_read(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, bytes(3 * 1024 * 1024))
    directory_backend.store.put(digest, source)
    pieces = directory_backend.store.read(digest)
    next(pieces)
    os.truncate(directory_backend.root / blob_key(digest), 2 * 1024 * 1024)
    next(pieces)
    with pytest.raises(StoreUnavailableError, match="cut short"):
        next(pieces)


def test_a_directory_in_a_blobs_place(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    (directory_backend.root / blob_key(digest)).mkdir(parents=True)
    with pytest.raises(CorruptBlobError, match="ordinary file"):
        directory_backend.store.put(digest, source)
    with pytest.raises(StoreError):
        list(directory_backend.store.read(digest))


def test_stray_files_are_not_listed(directory_backend: DirectoryBackend, tmp_path: Path) -> None:
    digest, source = write_blob(tmp_path, b"content")
    directory_backend.store.put(digest, source)
    blobs = directory_backend.root / "docker/registry/v2/blobs/sha256"
    for stray in (f"ab/{digest.hex}/data", "ab/short/data", f"{digest.hex[:2]}/{digest.hex}/data.tmp"):
        (blobs / stray).parent.mkdir(parents=True, exist_ok=True)
        (blobs / stray).touch()
    assert list(directory_backend.store.digests()) == [digest]


def test_missing_and_present_are_told_apart_while_reading(directory_backend: DirectoryBackend) -> None:
    pieces = directory_backend.store.read(Digest.of(b"nothing"))
    with pytest.raises(BlobNotFoundError):
        next(pieces)
