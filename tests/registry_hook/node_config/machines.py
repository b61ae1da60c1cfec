"""A machine of its own for a program: its network, and the directories where programs keep things.

So a program finds exactly the files that were printed for it, exactly where they belong, at the ports and
paths that are usual; and leaves nothing behind.
"""

from __future__ import annotations

import os
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
_OVERLAID: Final = ("/etc",)
_EMPTY: Final = (
    "/run", "/var/cache", "/var/log", "/var/lib/containerd", "/var/lib/docker", "/var/lib/dragonfly",
)  # fmt: skip
_DRAGONHOOK: Final = (sys.executable, "-m", "registry_hook.cli")


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

    def configure(self, settings: Path, *words: str) -> str:
        """Runs `dragonhook config … --output /` in it, as its operator would."""
        return self.run(*_DRAGONHOOK, "--config", str(settings), "config", *words, "--output", "/")


@contextmanager
def machine(node: Node) -> Iterator[Machine]:
    """Makes a machine of a node, and takes it down.

    Everything that runs in it has to be stopped before.
    """
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
        holder.kill()
        holder.wait()
        holder.stdout.close()


def printed(settings: Path, *words: str) -> str:
    """What `dragonhook config …` prints on standard output."""
    return run_command([*_DRAGONHOOK, "--config", str(settings), "config", *words], {**os.environ})
