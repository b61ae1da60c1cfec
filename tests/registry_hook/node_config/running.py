"""Programs that run in a machine for a while."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.peers.programs import ProgramError, find_program
from tests.registry_hook.node_config.machines import Machine

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0


@contextmanager
def running(
    machine: Machine, command: Sequence[str], *probe: str, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Runs a program in a machine for the time of the context.

    Args:
        machine: where.
        command: the program and its arguments.
        probe: a command that succeeds in the machine once the program serves.
        environ: variables to add to its environment.

    Raises:
        ProgramError: it does not come up; the message has the end of its output.
    """
    variables = [f"{name}={value}" for name, value in (environ or {}).items()]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*machine.place.prefix, "env", *variables, *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while subprocess.run([*machine.place.prefix, *probe], capture_output=True).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode(errors="replace")[-4000:]
                    raise ProgramError(f"{command[0]} does not come up:\n{said}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def containerd(machine: Machine, settings: str) -> Iterator[None]:
    """Runs containerd in a machine.

    Args:
        machine: where.
        settings: its `config.toml`.
    """
    machine.write("/etc/containerd/config.toml", settings)
    with running(machine, [str(find_program("containerd"))], str(find_program("ctr")), "version"):
        yield


def told_commands(printed: str) -> list[list[str]]:
    """The commands in the comments of a text, with the words that stand for something filled in."""
    lines = [line[2:].strip() for line in printed.splitlines() if line.startswith("#   ")]
    return [shlex.split(line.replace("TAG", "v1").replace("DIR", "/mnt/app")) for line in lines]


@contextmanager
def dfdaemon(where: Machine, address: str) -> Iterator[None]:
    """Runs a peer by the command that its comment names, until its proxy takes connections."""
    with running(where, [str(find_program("dfdaemon")), "--console"], *accepts(address, 4001)):
        yield


def accepts(address: str, port: int) -> tuple[str, ...]:
    """A command that succeeds once something listens."""
    return ("bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}")
