"""The real readers of a converted image: what each shows of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.interop.blobs import layer_bootstrap
from tests.interop.conversion import Conversion
from tests.peers.mounts import directory_backend, erofs_mount, nydusd_mount
from tests.peers.programs import run_program
from tests.trees import Tree, forget_times, snapshot


def check(bootstrap: Path) -> None:
    """`nydus-image check`, which proves little, but must pass.

    Raises:
        ProgramError: it refuses the bootstrap.
    """
    run_program("nydus-image", "check", "--bootstrap", bootstrap)


def check_all(conversion: Conversion, work: Path) -> None:
    """`check` of the image's bootstrap and of the one inside each layer blob.

    Raises:
        ProgramError: it refuses one of them.
    """
    check(conversion.bootstrap)
    for number, blob in enumerate(conversion.image.blobs):
        bootstrap = work / f"layer{number}.boot"
        bootstrap.write_bytes(layer_bootstrap(blob.path.read_bytes()))
        check(bootstrap)


def by_nydusd(conversion: Conversion, work: Path, *, inodes: bool = False) -> Tree:
    """The whole tree through nydusd (FUSE), which checks the digest of each chunk.

    nydusd takes a time of 0 for "unknown" and shows the time of its start instead (nydus-rafs 0.2.2
    src/fs.rs), which is made 0 again here. It also always shows the root with mode 0755. With
    `inodes` it checks their digests, too, which RAFS v5 has.
    """
    backend = directory_backend(conversion.blobs)
    start_s = int(time.time())
    with nydusd_mount(conversion.bootstrap, backend, work, validate=True, inodes=inodes) as mountpoint:
        tree = forget_times(snapshot(mountpoint), start_s)
    return {path: replace(node, mtime_s=node.mtime_s or 0) for path, node in tree.items()}


def by_kernel(bootstrap: Path, devices: Sequence[Path], mountpoint: Path) -> Tree:
    """The whole tree through the kernel's EROFS driver."""
    mountpoint.mkdir()
    with erofs_mount(bootstrap, devices, mountpoint):
        return snapshot(mountpoint)


def by_fsck(bootstrap: Path, devices: Sequence[Path], directory: Path) -> Tree:
    """The tree that `fsck.erofs --extract` writes: names, types and bytes; the rest it loses."""
    options = [f"--device={device}" for device in devices]
    run_program("fsck.erofs", f"--extract={directory}", "--no-preserve", *options, bootstrap)
    return snapshot(directory)
