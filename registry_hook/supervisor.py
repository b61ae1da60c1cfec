"""`dragonhook serve`: the service's processes, each started again when it dies.

The gateway is the registry's data path and the webhook its only listener, so each part is a process of its
own: a worker that runs out of memory breaks neither a pull nor a push. All state is in the job database, so
killing any of them at any time is safe, and restarting is all the care they need.

Nothing is left over: a child asks the kernel to be killed when its parent dies (`die_with_parent`), however
the parent died.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import structlog

from registry_hook.errors import SettingsError

PARENT_OPTION: Final = "--parent-pid"
_PR_SET_PDEATHSIG: Final = 1
_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0
# A child that lived this long was well; the next death starts from the first delay again.
_HEALTHY_S: Final = 30.0
# How the commands end when the settings are wrong (see `cli.main`).
_SETTINGS_STATUS: Final = 2
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """A child: its name in logs, and its command line."""

    name: str
    command: tuple[str, ...]


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    delay_s: float = _FIRST_DELAY_S
    start_at_s: float = field(default=0.0)


def own_program(name: str, arguments: Sequence[str]) -> Program:
    """The command `dragonhook <name> …` with this interpreter, as a child of this process."""
    command = (sys.executable, "-m", "registry_hook.cli", *arguments, name, PARENT_OPTION, str(os.getpid()))
    return Program(name, command)


def die_with_parent(parent_pid: int) -> None:
    """Makes the kernel kill this process when its parent dies (Linux `prctl(2)`, PR_SET_PDEATHSIG).

    SIGKILL, because a process that hangs while stopping would be left over, and being killed loses nothing.

    Args:
        parent_pid: who started this process; if that is no longer its parent, it is dead already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def start(program: Program, inherited: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts a program that shares our standard output and error, and the `inherited` descriptors.

    In a process group of its own, because Ctrl-C reaches the whole group of the terminal: the program would
    get that signal and ours behind it, and a second one means that it shall end at once.
    """
    return subprocess.Popen(  # noqa: S603 - our own command line
        program.command, stdin=subprocess.DEVNULL, process_group=0, pass_fds=inherited
    )


class Supervisor:
    """Starts programs, starts them again when they end, and stops them all.

    Args:
        programs: what to run.
        stop_timeout_s: how long children may take to end after SIGTERM before they are killed.
        clock_s: monotonic seconds.
        inherited: open files that the children get too.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        stop_timeout_s: float,
        clock_s: Callable[[], float] = time.monotonic,
        inherited: Sequence[int] = (),
    ) -> None:
        self._children = [_Child(program) for program in programs]
        self._stop_timeout_s = stop_timeout_s
        self._clock_s = clock_s
        self._inherited = inherited
        self._refused: str | None = None
        self._signals = 0

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT; then lets the children finish, and returns.

        A second signal kills those that have not finished.

        Raises:
            SettingsError: a child cannot work with the settings, and has said why; starting it again would
                not help, so everything was stopped.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            while not self._signals and self._refused is None:
                self.turn()
                time.sleep(0.1)
        finally:
            self.stop()
        if self._refused is not None:
            raise SettingsError(
                f"the {self._refused} cannot run with these settings, as it says above; everything is stopped"
            )

    def turn(self) -> None:
        """Notices what died and starts what is due."""
        now_s = self._clock_s()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now_s)
            if child.process is None and self._refused is None and now_s >= child.start_at_s:
                child.process = start(child.program, self._inherited)
                child.started_s = now_s
                _log.info("started", program=child.program.name, pid=child.process.pid)

    def pids(self) -> dict[str, int]:
        """The process ids of the children that run, by name."""
        return {c.program.name: c.process.pid for c in self._children if c.process is not None}

    def stop(self) -> None:
        """Ends all children: SIGTERM, and SIGKILL for those that are not gone in time."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline_s = self._clock_s() + self._stop_timeout_s
        while self._signals < 2 and self._clock_s() < deadline_s and any(p.poll() is None for p in running):
            time.sleep(0.05)
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
        for child in self._children:
            child.process = None

    def _bury(self, child: _Child, now_s: float) -> None:
        if child.process is None:
            return
        status = child.process.returncode
        child.process = None
        if status == _SETTINGS_STATUS:
            self._refused = child.program.name
            return
        if now_s - child.started_s >= _HEALTHY_S:
            child.delay_s = _FIRST_DELAY_S
        child.start_at_s = now_s + child.delay_s
        _log.error(
            "ended unexpectedly", program=child.program.name, status=status, restart_in_s=child.delay_s
        )
        child.delay_s = min(child.delay_s * 2, _LONGEST_DELAY_S)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        _log.info(
            "stopping; once more to end at once" if self._signals == 1 else "ending at once",
            signal=signal.Signals(number).name,
        )
