"""Finds the real programs, and runs them.

A test that needs one simply asks for it. When it is missing, `MissingProgramError` says which command
installs it; `tests/conftest.py` makes a skip of that, and in CI leaves it the failure that it is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers.pins import DEBIAN, GO, RUST, built_directory

_MORE_DIRECTORIES = "/usr/sbin:/sbin:/usr/lib/postgresql/15/bin"


class MissingProgramError(Exception):
    """A real program is not installed; the message names it and the command that installs it."""


class ProgramError(Exception):
    """A program ended with an unexpected status; the message has the command and the end of its output."""


def find_program(name: str) -> Path:
    """Where a program of the table in `pins.py` is.

    Raises:
        MissingProgramError: it is not installed.
        KeyError: no such program is in the table.
    """
    for group, peers in (("go", GO), ("rust", RUST)):
        for peer in peers:
            if name in peer.programs:
                path = built_directory(peer) / name
                if path.is_file():
                    return path
                raise MissingProgramError(f"{peer.name} {peer.version} is missing: run `make peers-{group}`")
    for package in DEBIAN:
        if name in package.programs:
            # Some live in directories that an ordinary user's PATH leaves out.
            found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_MORE_DIRECTORIES}")
            if found is not None:
                return Path(found)
            raise MissingProgramError(f"Debian's {package.package} is missing: run `make peers-debian`")
    raise KeyError(f"{name} is not in tests/peers/pins.py")


def is_installed(name: str) -> bool:
    """Whether a program of the table is there."""
    try:
        find_program(name)
    except MissingProgramError:
        return False
    return True


def run_program(
    name: str,
    *arguments: str | Path,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    cwd: Path | None = None,
) -> str:
    """Runs a program of the table to its end.

    Args:
        name: the program.
        arguments: its arguments.
        environ: variables to add to the environment.
        timeout_s: longest time it may take.
        cwd: directory to run it in.

    Returns:
        Its standard output.

    Raises:
        MissingProgramError: it is not installed.
        ProgramError: it failed; the message ends with its standard error.
    """
    return run_command([str(find_program(name)), *map(str, arguments)], environ, timeout_s, cwd)


def run_command(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    cwd: Path | None = None,
) -> str:
    """Runs any command to its end; arguments and errors as `run_program`."""
    try:
        done = subprocess.run(
            command, env={**os.environ, **(environ or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"`{' '.join(command)}` did not end within {timeout_s} s") from error
    if done.returncode != 0:
        raise ProgramError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout
