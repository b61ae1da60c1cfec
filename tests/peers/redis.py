"""A Redis server of its own for a test, on a loopback port."""

from __future__ import annotations

from pathlib import Path

from tests.peers.dragonfly import accepts
from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_port


class Redis(Server):
    """A Redis that keeps nothing, on loopback.

    Args:
        directory: for its log.
        password: what clients have to give; none by default.
    """

    def __init__(self, directory: Path, password: str | None = None) -> None:
        port = free_port()
        command = [
            str(find_program("redis-server")), "--bind", LOOPBACK, "--port", str(port), "--save", "",
            "--dir", str(directory), *(["--requirepass", password] if password else []),
        ]  # fmt: skip
        super().__init__(command, port, directory / "redis.log")

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return accepts(LOOPBACK, self.port)
