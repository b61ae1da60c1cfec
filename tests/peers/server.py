"""A real server as a child process, on a loopback port of its own or in a network namespace."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from tests.peers.programs import ProgramError

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program runs: here, or in a network namespace (`tests/peers/namespaces.py`).

    Args:
        address: IPv4 address to listen on, reachable from the tests.
        prefix: words before a command (`ip netns exec NAME`); none for the machine itself.
    """

    address: str = LOOPBACK
    prefix: tuple[str, ...] = ()


HERE = Place()


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on.

    Taken from below the kernel's range for outgoing connections (32768 and up), which could otherwise take
    the port of a server while it is being restarted.
    """
    ports: list[int] = []
    for port in random.sample(range(20000, 32000), 200):
        if len(ports) == count:
            return ports
        if _is_free(port):
            ports.append(port)
    raise ProgramError(f"no {count} free ports between 20000 and 32000")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        # Connections of a former server that are only waiting for their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


class Server:
    """A program that serves HTTP until it is stopped.

    Args:
        command: program and arguments; it must listen on `port`.
        port: loopback port.
        log: file that gets its output, and keeps it over restarts.
        ready_path: path to ask for; any answer below 500 means that it serves.
        environ: variables to add to the environment.
        scheme: http or https (whose certificate the readiness check does not verify).
        place: where to run it; the command has to listen on the address of the place.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        ready_path: str = "/",
        environ: Mapping[str, str] | None = None,
        scheme: str = "http",
        place: Place = HERE,
    ) -> None:
        self._command = list(command)
        self._place = place
        self._environ = {**os.environ, **(environ or {})}
        self._ready_path = ready_path
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.log = log
        self.host = f"{place.address}:{port}"
        self.url = f"{scheme}://{self.host}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ProgramError(f"{self._command[0]} is not running")
        return self._process.pid

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Starts the server and waits until it answers.

        Raises:
            ProgramError: the port is in use, or the server ended or did not answer in time; the message has
                the end of its log.
        """
        self.launch()
        self.wait(timeout_s)

    def launch(self) -> None:
        """Starts the server without waiting for it; `wait` has to follow.

        Raises:
            ProgramError: the port is in use.
        """
        # Else the readiness check would be answered by somebody else.
        if self._place == HERE and not _is_free(self.port):
            raise ProgramError(f"{self._command[0]} cannot start: port {self.port} is in use")
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._place.prefix, *self._command], env=self._environ,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                # Ctrl-C is for whoever started the server, which then ends it in order.
                start_new_session=True,
            )  # fmt: skip

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Waits until a launched server answers; ends it if it does not.

        Raises:
            ProgramError: the server ended, or did not answer in time; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while not self.is_ready():
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    raise ProgramError(f"{self._command[0]} did not start:\n{self.log_text()[-4000:]}")
                time.sleep(0.02)
        except BaseException:  # Also Ctrl-C: nobody else knows of the process yet.
            self.kill()
            raise

    def is_ready(self) -> bool:
        """Whether it answers now."""
        try:
            answer = httpx.get(f"{self.url}{self._ready_path}", timeout=2, verify=False, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code < 500

    def stop(self) -> None:
        """Ends it in order (SIGTERM), by force when that takes too long; does nothing when it is not up."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would. Does nothing if it is not running."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stops and starts it, on the same port with the same storage."""
        self.stop()
        self.start()

    def log_text(self) -> str:
        """What it has printed, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
