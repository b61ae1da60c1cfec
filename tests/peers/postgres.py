"""A Postgres server of its own for a test, on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.peers.programs import ProgramError, find_program
from tests.peers.server import LOOPBACK, free_port

_OWNER = "postgres"


class Postgres:
    """A server with an empty database `jobs`, whose files vanish with it.

    Postgres refuses to run as root, so for root it runs as the user that Debian's package makes.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://tester@{LOOPBACK}:{self.port}/postgres"
        self._user = _OWNER if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes a cluster and starts it.

        Raises:
            ProgramError: it does not answer.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="dragonhook-postgres-"))
        if self._user is not None:
            os.chown(self._directory, pwd.getpwnam(self._user).pw_uid, -1)
        data = self._directory / "data"
        self._run("initdb", "--username=tester", "--auth=trust", "--no-sync", "-D", str(data))
        self._launch()

    def _launch(self) -> None:
        data = self._directory / "data"
        command = [
            str(find_program("postgres")), "-D", str(data), "-p", str(self.port), "-h", LOOPBACK,
            "-c", "unix_socket_directories=", "-c", "max_connections=200",
        ]  # fmt: skip
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                command, user=self._user, stdout=log, stderr=log, cwd=self._directory
            )
        deadline_s = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise ProgramError((self._directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    def crash(self) -> None:
        """Ends the server without a checkpoint and starts it again, as after a power cut of the machine."""
        self._end(signal.SIGQUIT)
        self._launch()

    def stop(self) -> None:
        """Stops the server and removes its files."""
        self._end(signal.SIGINT)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(find_program(name)), *arguments],
            user=self._user, cwd=self._directory, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode != 0:
            raise ProgramError(f"{name}: {done.stderr[-2000:]}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
