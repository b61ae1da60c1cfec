"""Lazy mounts by nydusd (FUSE), and mounts by the kernel's own EROFS driver."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.peers.programs import ProgramError, find_program, run_command

MOUNT_TIMEOUT_S = 20.0
_MS_RDONLY = 1  # linux/mount.h


def registry_backend(host: str, repository: str, scheme: str = "http") -> dict[str, Any]:
    """nydusd's backend that reads blobs from a registry or from anything that answers like one."""
    registry = {"scheme": scheme, "host": host, "repo": repository, "timeout": 5, "connect_timeout": 5}
    return {"type": "registry", "registry": {**registry, "retry_limit": 2}}


def directory_backend(directory: Path) -> dict[str, Any]:
    """nydusd's backend that reads blobs from files of a directory, named by the 64 digits of their digest."""
    return {"type": "localfs", "localfs": {"dir": str(directory)}}


@contextmanager
def nydusd_mount(
    bootstrap: Path,
    backend: Mapping[str, Any],
    work: Path,
    *,
    validate: bool = False,
    prefetch: bool = False,
    inodes: bool = False,
    record: bool = False,
) -> Iterator[Path]:
    """Mounts an image with nydusd for the time of the context.

    Args:
        bootstrap: the bootstrap file (not its layer tar).
        backend: where the data blobs are, from `registry_backend` or `directory_backend`.
        work: an empty directory of our own; its `nydusd.log` stays.
        validate: let nydusd check the chunk digests of the bootstrap. Needs a backend whose HEAD answers
        carry the
            length, so not a registry that redirects.
        inodes: let nydusd check the digests of inodes, which RAFS v5 has; mounts of v6 fail with it.
        record: let nydusd record which files are read.
        prefetch: let nydusd fetch what the prefetch table lists.

    Yields:
        The mount point.

    Raises:
        MissingProgramError: nydusd is not installed.
        ProgramError: it did not mount; the message has the end of its log.
    """
    mountpoint, cache, log = work / "mnt", work / "cache", work / "nydusd.log"
    for directory in (mountpoint, cache):
        directory.mkdir(parents=True)
    config = work / "nydusd.json"
    config.write_text(
        json.dumps(_configuration(backend, cache, validate, prefetch, inodes, record), indent=1)
    )
    command = [
        str(find_program("nydusd")), "fuse", "--mountpoint", str(mountpoint), "--bootstrap", str(bootstrap),
        "--config", str(config),
        # Relative to its working directory: an address of a Unix socket has room for 107 bytes.
        "--apisock", "api.sock",
        # Otherwise it wants to raise the limit on open files, which a container may not.
        "--rlimit-nofile", "0", "--log-level", "info",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=work)
    try:
        deadline = time.monotonic() + MOUNT_TIMEOUT_S
        while not os.path.ismount(mountpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ProgramError(
                    f"nydusd did not mount {bootstrap}:\n{log.read_text(errors='replace')[-4000:]}"
                )
            time.sleep(0.02)
        yield mountpoint
    finally:
        _end(process)
        if os.path.ismount(mountpoint):
            run_command(["umount", "--lazy", str(mountpoint)])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _configuration(
    backend: Mapping[str, Any], cache: Path, validate: bool, prefetch: bool, inodes: bool, record: bool
) -> dict[str, Any]:
    return {
        "version": 2,
        "id": "dragonhook-test",
        "backend": backend,
        "cache": {
            "type": "blobcache",
            "validate": validate,
            "filecache": {"work_dir": str(cache)},
            "prefetch": {"enable": prefetch},
        },
        # `validate` here makes every RAFS v6 mount of nydusd 2.2 fail; `cache.validate` is the one that
        # counts.
        "rafs": {
            "mode": "direct",
            "enable_xattr": True,
            "validate": inodes,
            "access_pattern": record,
            "prefetch": {"enable": prefetch},
        },
    }


@contextmanager
def erofs_mount(bootstrap: Path, blobs: Sequence[Path], mountpoint: Path) -> Iterator[Path]:
    """Mounts a kernel-mountable image with the kernel's EROFS driver for the time of the context. Needs root.

    Kernels from 6.12 take plain files; older ones get loop devices.

    Args:
        bootstrap: the bootstrap file.
        blobs: the data blobs, in the order of the bootstrap's device table.
        mountpoint: an existing directory.

    Raises:
        ProgramError: the kernel refused.
    """
    with ExitStack() as stack:
        try:
            _mount_erofs(bootstrap, blobs, mountpoint)
        except OSError as refused:
            loops = [stack.enter_context(_loop_device(path)) for path in (bootstrap, *blobs)]
            try:
                _mount_erofs(loops[0], loops[1:], mountpoint)
            except OSError as error:
                raise ProgramError(
                    f"the kernel mounts {bootstrap} neither from files ({refused.strerror}) nor from loop "
                    f"devices ({error.strerror}); `dmesg` may say why"
                ) from error
        stack.callback(run_command, ["umount", str(mountpoint)])
        yield mountpoint


def _mount_erofs(bootstrap: Path, blobs: Sequence[Path], mountpoint: Path) -> None:
    """mount(2) itself: mount(8) puts the bootstrap alone on a loop device, which the kernel then refuses."""
    options = ",".join(f"device={blob}" for blob in blobs)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [os.fsencode(bootstrap), os.fsencode(mountpoint), b"erofs", _MS_RDONLY, options.encode()]
    if libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(bootstrap))


@contextmanager
def _loop_device(path: Path) -> Iterator[Path]:
    device = run_command(["losetup", "--read-only", "--find", "--show", str(path)]).strip()
    try:
        yield Path(device)
    finally:
        run_command(["losetup", "--detach", device])
