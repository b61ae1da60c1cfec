"""A machine of its own for a program: its network, and the directories where programs keep things.

So a program finds exactly the files that were printed for it, exactly where they belong, at the ports and
paths that are usual; and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers.namespaces import Node
from tests.peers.programs import ProgramError, run_command
from tests.peers.server import Place

# Kept as it is, with changes aside: programs need certificates, users and the like.
_OVERLAID: Final = ("/etc", "/usr/local", "/var")
# Where programs make overlays themselves, for which another overlay is no place.
_EMPTY: Final = ("/run", "/var/cache", "/var/log", "/var/lib/containerd", "/var/lib/docker")
DRAGONHOOK: Final = (sys.executable, "-m", "registry_hook.cli")


@dataclass(frozen=True, slots=True)
class Machine:
    """A network namespace with a mount namespace.

    Args:
        node: its network.
        holder: process id of what keeps it alive.
    """

    node: Node
    holder: int

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self.node.address

    @property
    def place(self) -> Place:
        """Where to run servers in it."""
        namespaces = [
            f"--{kind}=/proc/{self.holder}/ns/{name}" for kind, name in (("net", "net"), ("mount", "mnt"))
        ]
        return Place(self.node.address, ("nsenter", *namespaces, f"--wdns={Path.cwd()}", "--"))

    def path(self, path: str) -> Path:
        """One of its files, as the tests see it."""
        return Path(f"/proc/{self.holder}/root{path}")

    def run(self, *words: str, timeout_s: float = 60) -> str:
        """Runs a command in it to its end, and gives its output."""
        return run_command([*self.place.prefix, *words], timeout_s=timeout_s)

    def write(self, path: str, content: str) -> None:
        """Writes one of its files."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(content)

    def image_file(
        self, reference: str, path: str, snapshotter: str = "overlayfs", namespace: str = "default"
    ) -> bytes:
        """A file of an image that the machine's containerd has pulled."""
        directory = f"/mnt/image{secrets.token_hex(4)}"
        self.run("mkdir", directory)
        images = ("ctr", "--namespace", namespace, "images")
        self.run(*images, "mount", "--snapshotter", snapshotter, reference, directory)
        try:
            return self.path(f"{directory}{path}").read_bytes()
        finally:
            self.run(*images, "unmount", directory)

    def configure(self, settings: Path, *words: str) -> str:
        """Runs `dragonhook config … --output /` in it, as its operator would."""
        return self.run(*DRAGONHOOK, "--config", str(settings), "config", *words, "--output", "/")


@contextmanager
def machine(node: Node) -> Iterator[Machine]:
    """Makes a machine of a node, and takes it down with everything that runs in it."""
    commands = [
        "mount -t tmpfs -o size=2g machine /mnt",
        # `ip netns exec` has mounted a new /sys, without it.
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    ]
    for path in _OVERLAID:
        aside = f"/mnt{path}"
        commands += [
            f"mkdir -p {aside}/upper {aside}/work",
            f"mount -t overlay -o lowerdir={path},upperdir={aside}/upper,workdir={aside}/work overlay {path}",
        ]
    for path in _EMPTY:
        commands += [f"mkdir -p {path} /mnt{path}", f"mount --bind /mnt{path} {path}"]
    commands += ["mkdir -p /run/lock", "echo ready", "exec sleep infinity"]
    holder = subprocess.Popen(
        node.command("unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", "\n".join(commands)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        said = holder.stdout.readline()
        if said != "ready\n":
            raise ProgramError(f"no machine: {said}{holder.stdout.read()}")
        yield Machine(node, holder.pid)
    finally:
        if holder.poll() is None:
            _end_all(holder.pid)
        holder.wait()
        holder.stdout.close()


def _end_all(holder: int) -> None:
    """Ends what runs in a machine, also what programs leave behind, as the snapshotter its nydusd."""
    namespace = os.readlink(f"/proc/{holder}/ns/mnt")
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/mnt") == namespace:
                os.kill(int(entry), signal.SIGKILL)


def printed(settings: Path, *words: str) -> str:
    """What `dragonhook config …` prints on standard output."""
    return run_command([*DRAGONHOOK, "--config", str(settings), "config", *words], {**os.environ})
