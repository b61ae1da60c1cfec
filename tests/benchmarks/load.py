"""Asks a server for ranges of one file over several connections, as fast as it answers.

A process of its own, `python -m tests.benchmarks.load JSON`, so that it shares neither interpreter nor memory
with what it measures. One loop over non-blocking sockets; every answer has to have the right status, length
and first bytes.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

_WORD: Final = 8
_BUFFER: Final = 1 << 20
_HEADER_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask for.

    Args:
        url: of a file made by `content`.
        size: length of that file in bytes.
        range_bytes: length of each range; they begin at random multiples of it.
        connections: how many ask at once, each for one range after the other.
        duration_s: for how long.
    """

    url: str
    size: int
    range_bytes: int
    connections: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it; times are from sending a request to the last byte of its answer."""

    requests: int
    seconds: float
    bytes_per_s: float
    requests_per_s: float
    median_ms: float
    p99_ms: float


class WrongAnswerError(Exception):
    """The server sent something else than what it was asked for."""


def content(size: int) -> bytes:
    """A file in which every 8 bytes tell where they are, so that ranges of it can be recognised."""
    return array("Q", range(0, size, _WORD)).tobytes()


class _Connection:
    def __init__(self, load: Load, seed: int) -> None:
        address = urlsplit(load.url)
        self.socket = socket.create_connection((str(address.hostname), address.port or 80))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        target = f"{address.path}?{address.query}" if address.query else address.path
        self._request = f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nRange: bytes="
        self._load = load
        self._random = random.Random(seed)
        self._head = b""
        self._start = self._missing = 0
        self.sent_at = 0.0

    def ask(self) -> None:
        """Sends a request; it is short enough to go out at once."""
        self._start = (
            self._random.randrange(self._load.size // self._load.range_bytes) * self._load.range_bytes
        )
        last = self._start + self._load.range_bytes - 1
        self._head, self._missing = b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(f"{self._request}{self._start}-{last}\r\n\r\n".encode())

    def take(self, buffer: bytearray) -> bool:
        """Takes what has come; True when the answer is complete."""
        length = self.socket.recv_into(buffer)
        if not length:
            raise WrongAnswerError("the server has closed the connection")
        if self._missing:
            self._missing -= length
        else:
            self._head += buffer[:length]
            before, end, body = self._head.partition(_HEADER_END)
            if end:
                self._check_header(before)
            if len(body) < _WORD:
                return False
            self._check_place(body)
            self._missing = self._load.range_bytes - len(body)
        if self._missing < 0:
            raise WrongAnswerError("the server sent more than was asked for")
        return not self._missing

    def _check_header(self, header: bytes) -> None:
        length = f"\r\ncontent-length: {self._load.range_bytes}".encode()
        if not header.startswith(b"HTTP/1.1 206 ") or length not in header.lower():
            raise WrongAnswerError(f"asked for {self._load.range_bytes} bytes, got {header[:300]!r}")

    def _check_place(self, body: bytes) -> None:
        place = int.from_bytes(body[:_WORD], sys.byteorder)
        if place != self._start:
            raise WrongAnswerError(f"asked for bytes from {self._start}, got bytes from {place}")


def run(load: Load) -> Outcome:
    """Asks, in this process.

    Raises:
        WrongAnswerError: an answer was wrong.
    """
    buffer = bytearray(_BUFFER)
    times_s: list[float] = []
    with selectors.DefaultSelector() as selector:
        for number in range(load.connections):
            connection = _Connection(load, number)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask()
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + load.duration_s:
            for key, _ in selector.select(1.0):
                connection = key.data
                if connection.take(buffer):
                    times_s.append(time.perf_counter() - connection.sent_at)
                    connection.ask()
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    seconds = now - began
    cuts = statistics.quantiles(times_s, n=100)
    return Outcome(
        requests=len(times_s),
        seconds=seconds,
        bytes_per_s=len(times_s) * load.range_bytes / seconds,
        requests_per_s=len(times_s) / seconds,
        median_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
    )


def run_apart(load: Load) -> Outcome:
    """Asks, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.load", json.dumps(asdict(load))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(run(Load(**json.loads(sys.argv[1]))))))
