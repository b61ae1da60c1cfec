"""buildah and podman with a storage of their own, set up for machines with few rights."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers.pins import cache_directory
from tests.peers.programs import run_command, run_program

BASE: Final = "localhost/debian:bookworm"
BASE_PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")
# pip inside the build has to trust what pip trusts here.
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
BUILD_TIMEOUT_S: Final = 900.0
# Without CAP_SYS_RESOURCE limits cannot be raised to podman's defaults.
LIMITS: Final = "nofile=20000:20000"
_CONTAINERS_CONF: Final = f"""
[containers]
default_ulimits = ["{LIMITS}", "nproc=4096:4096"]
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine: its images and containers are below `root`, its run-time files in `runtime`."""

    root: Path
    runtime: Path

    def build(self, context: Path, target: str, image: str) -> None:
        """Builds a target of `docker/Dockerfile` on the base image."""
        run_program(
            "buildah", *self._storage, "bud", "--isolation", "chroot", "--ulimit", LIMITS, "--layers",
            "--pull-never", "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--build-arg", f"BASE={BASE}",
            "--ignorefile", context / "docker/Dockerfile.dockerignore",
            "--file", context / "docker/Dockerfile", "--target", target, "--tag", image, context,
            environ=self._environ, timeout_s=BUILD_TIMEOUT_S,
        )  # fmt: skip

    @contextmanager
    def run(self, image: str, environ: Mapping[str, str], mounts: Mapping[Path, str]) -> Iterator[str]:
        """Runs a container on the machine's network while the context lasts; only its volumes are writable.

        Args:
            image: which image.
            environ: environment of the container.
            mounts: directories of this machine, with their place in the container.

        Yields:
            The container's id.
        """
        options = [argument for key, value in environ.items() for argument in ("--env", f"{key}={value}")]
        options += [
            argument for path, place in mounts.items() for argument in ("--volume", f"{path}:{place}")
        ]
        container = self.podman(
            "run", "--detach", "--network", "host", "--read-only", *options, image
        ).strip()
        try:
            yield container
        finally:
            self.podman("rm", "--force", "--time", "20", container)

    def podman(self, *arguments: str) -> str:
        """Runs podman on the engine's storage, and returns its output."""
        common = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        return run_program(
            "podman", *self._storage, *common, *arguments, environ=self._environ, timeout_s=BUILD_TIMEOUT_S
        )

    @property
    def _storage(self) -> list[str]:
        return ["--root", str(self.root / "storage"), "--runroot", str(self.runtime / "run")]

    @property
    def _environ(self) -> dict[str, str]:
        return {"CONTAINERS_CONF": str(self.root / "containers.conf")}


@contextmanager
def engine(root: Path) -> Iterator[Engine]:
    """An engine that has the base image, and whose storage is removed at the end of the context.

    Args:
        root: an empty directory.
    """
    (root / "containers.conf").write_text(_CONTAINERS_CONF)
    with tempfile.TemporaryDirectory() as runtime:  # podman takes 50 characters
        this = Engine(root, Path(runtime))
        try:
            this.podman("import", "--quiet", str(base_tar()), BASE)
            yield this
        finally:
            # Not `podman system reset`: that would also remove networks of the machine's own podman.
            this.podman("rmi", "--all", "--force")
            _unmount_below(root)
            _unmount_below(this.runtime)
            shutil.rmtree(root)


def _unmount_below(root: Path) -> None:
    """Undoes the bind mount that the overlay driver makes of its own directory."""
    places = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted(places, reverse=True):
        if place.is_relative_to(root):
            run_command(["umount", str(place)])


def base_tar() -> Path:
    """A Debian root file system with Python, made once and kept in the cache directory."""
    recipe = hashlib.sha256(repr(BASE_PACKAGES).encode()).hexdigest()[:16]
    path = cache_directory() / "docker" / f"base-{recipe}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            tar = Path(directory) / "base.tar"
            include = f"--include={','.join(BASE_PACKAGES)}"
            run_program(
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                include,
                "bookworm",
                tar,
                timeout_s=BUILD_TIMEOUT_S,
            )
            os.replace(tar, path)
    return path
