"""Fetches packages of language registries with those registries' own clients."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from tests.demo.image import IMAGE_PYTHON
from tests.peers.programs import MissingProgramError, find_program, run_command
from tests.real_images.recipes import Tree

_TIMEOUT_S: Final = 600.0


def fetch(tree: Tree, target: Path) -> None:
    """Puts the packages of a tree into a directory.

    Args:
        tree: which packages.
        target: made by this.

    Raises:
        MissingProgramError: the registry's client is not installed.
        ProgramError: it failed.
    """
    target.mkdir(parents=True)
    {"PyPI": _pypi, "npm": _npm, "Maven": _maven, "Go": _go}[tree.registry](tree.packages, target)


def _client(name: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingProgramError(f"`{name}` is missing, which fetches {what}")
    return path


def _pypi(packages: tuple[str, ...], target: Path) -> None:
    run_command(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--implementation=cp", f"--python-version={IMAGE_PYTHON}", "--no-compile",
            f"--target={target}", *packages,
        ],
        timeout_s=_TIMEOUT_S,
    )  # fmt: skip


def _npm(packages: tuple[str, ...], target: Path) -> None:
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    prefix = f"--prefix={target}"
    run_command([_client("npm", "npm packages"), "install", prefix, *quiet, *packages], timeout_s=_TIMEOUT_S)


def _maven(packages: tuple[str, ...], target: Path) -> None:
    maven = _client("mvn", "Maven artifacts")
    for package in packages:
        command = [
            maven, "--quiet", "--batch-mode", "dependency:copy", f"-Dartifact={package}",
            f"-DoutputDirectory={target}",
        ]  # fmt: skip
        run_command(command, cwd=target, timeout_s=_TIMEOUT_S)


def _go(packages: tuple[str, ...], target: Path) -> None:
    """A Go program that is installed as a peer anyway, linked statically."""
    for package in packages:
        name = package.partition("@")[0].rsplit("/", 1)[1]
        shutil.copy2(find_program(name), target / name)
