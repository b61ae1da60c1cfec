"""A container engine with Docker's API: podman's service, with storage of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.programs import ProgramError, find_program

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 15.0
# In a container the limits that podman asks for by itself may not be raised.
_CONTAINERS_CONF = '[containers]\ndefault_ulimits = ["nofile=20000:20000","nproc=4096:4096"]\n'


@contextmanager
def podman_service(directory: Path) -> Iterator[str]:
    """Serves Docker's API for the time of the context. Needs root.

    Args:
        directory: an existing directory for its images and its log.

    Yields:
        The value of DOCKER_HOST that leads to it.

    Raises:
        MissingProgramError: podman is not installed.
        ProgramError: it did not start.
    """
    configuration = directory / "containers.conf"
    configuration.write_text(_CONTAINERS_CONF)
    socket = directory / "podman.sock"
    log = directory / "podman.log"
    with tempfile.TemporaryDirectory() as short, log.open("wb") as output:  # podman takes 50 characters
        command = [
            str(find_program("podman")),
            *("--root", str(directory / "root"), "--runroot", f"{short}/run", "--storage-driver", "vfs"),
            *("--tmpdir", str(directory / "tmp"), "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
            *("system", "service", "--time", "0", f"unix://{socket}"),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "CONTAINERS_CONF": str(configuration)},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ProgramError(f"podman did not serve:\n{log.read_text(errors='replace')[-4000:]}")
                time.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
