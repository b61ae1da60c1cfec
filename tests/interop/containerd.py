"""The truth: what containerd unpacks onto overlayfs, from a containerd of our own (needs root)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.images.layout import Image
from tests.peers.programs import find_program
from tests.trees import Tree, forget_times, reachable, snapshot

_CONFIG = """
version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{root}/containerd.sock"
[ttrpc]
  address = "{root}/containerd.sock.ttrpc"
"""


class UnpackRefusedError(Exception):
    """containerd does not unpack the image; the text is its own."""


@dataclass(frozen=True)
class Containerd:
    """A running containerd.

    Args:
        root: directory of everything it keeps, on a file system that can be overlayfs's upper one.
    """

    root: Path

    def unpack(self, image: Image) -> Tree:
        """Imports the image, mounts it read-only by the overlayfs snapshotter, and reads the tree.

        Returns:
            The tree, without what overlayfs lists but does not have. A time that only says when the image was
            unpacked here is None.

        Raises:
            UnpackRefusedError: containerd refuses a layer.
        """
        target = Path(tempfile.mkdtemp(prefix="unpack-", dir=self.root))
        archive = target.with_suffix(".tar")
        reference = f"localhost/{target.name}:latest"
        image.write_archive(archive, reference)
        start_s = int(time.time())
        self._ctr("images", "import", "--no-unpack", "--snapshotter", "overlayfs", str(archive))
        self._mount(reference, target)
        try:
            return forget_times(reachable(snapshot(target)), start_s)
        finally:
            self._ctr("images", "unmount", "--rm", "--snapshotter", "overlayfs", str(target))
            self._ctr("images", "rm", "--sync", reference)
            archive.unlink()
            target.rmdir()

    def _mount(self, reference: str, target: Path) -> None:
        """Unpacks and mounts. `ctr` holds no lease meanwhile, so a collection can take a layer away."""
        for attempt in range(5):
            try:
                self._ctr("images", "mount", "--snapshotter", "overlayfs", reference, str(target))
            except UnpackRefusedError as error:
                if attempt == 4 or "failed to prepare extraction snapshot" not in str(error):
                    raise
            else:
                return

    def _ctr(self, *arguments: str) -> str:
        address = ["--address", str(self.root / "containerd.sock"), "--namespace", "truth"]
        run = subprocess.run(
            [str(find_program("ctr")), *address, *arguments], capture_output=True, text=True, timeout=600
        )
        if run.returncode:
            raise UnpackRefusedError(run.stderr.strip().removeprefix("ctr: "))
        return run.stdout


@contextmanager
def containerd(root: Path, *, in_memory: bool = False) -> Iterator[Containerd]:
    """Starts a containerd with all its files under `root`, and stops it.

    Args:
        root: an existing directory.
        in_memory: put a tmpfs there; ext4 cannot hold extended attributes of more than a block.
    """
    if in_memory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "truth", root], check=True)
    config = root / "config.toml"
    config.write_text(_CONFIG.format(root=root))
    log = root / "containerd.log"
    with log.open("wb") as output:
        command = [str(find_program("containerd")), "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_for(process, root / "containerd.sock", log)
        yield Containerd(root)
    finally:
        process.terminate()
        process.wait(30)
        if in_memory:
            subprocess.run(["umount", "--recursive", root], check=True)
        else:
            shutil.rmtree(root, ignore_errors=True)


def _wait_for(process: subprocess.Popen[bytes], socket: Path, log: Path, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        probe = [str(find_program("ctr")), "--address", str(socket), "version"]
        if socket.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"containerd does not come up:\n{log.read_text(errors='replace')[-2000:]}")
