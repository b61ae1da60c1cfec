"""Debian root file systems: a minimal one, and packages on top of it in the upper directory of an overlay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.demo.image import EPOCH_S, SUITE
from tests.peers.programs import run_command, run_program

_TIMEOUT_S: Final = 900.0
_NO_SERVICES: Final = "#!/bin/sh\nexit 101\n"  # invoke-rc.d(8): action not allowed


def make_base(tar: Path) -> None:
    """Writes the tar of a minimal Debian system.

    Raises:
        ProgramError: mmdebstrap failed.
    """
    environ = {"SOURCE_DATE_EPOCH": str(EPOCH_S)}
    run_program(
        "mmdebstrap", "--quiet", "--variant=minbase", SUITE, tar, environ=environ, timeout_s=_TIMEOUT_S
    )


def unpack(tar: Path, root: Path) -> None:
    """Unpacks a root file system with all that belongs to it."""
    root.mkdir()
    options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--preserve-permissions"]
    run_command(["tar", f"--directory={root}", *options, f"--file={tar}", "--extract"], timeout_s=_TIMEOUT_S)


@contextmanager
def overlay(lower: Path, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """Mounts an overlay for the time of the context. Needs root.

    Args:
        lower: what is below; not changed.
        scratch: a directory for the rest, on a file system that can be overlayfs's upper one; made.

    Yields:
        The mount point, and the upper directory, which gets what is changed.
    """
    root, upper, work = (scratch / name for name in ("root", "upper", "work"))
    for directory in (root, upper, work):
        directory.mkdir(parents=True)
    upper.chmod(0o755)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run_command(["mount", "-t", "overlay", "-o", options, "overlay", str(root)])
    try:
        yield root, upper
    finally:
        run_command(["umount", str(root)])


def install(root: Path, packages: Sequence[str], scratch: Path, *, security: bool) -> None:
    """Installs Debian packages into a root file system, whose own list of sources says where from.

    Args:
        root: changed.
        packages: names.
        scratch: keeps the lists of packages, for further calls too.
        security: whether to take security fixes.

    Raises:
        ProgramError: apt-get failed.
    """
    sources = (root / "etc/apt/sources.list").read_text().splitlines()
    chosen = [line for line in sources if security or f"{SUITE}-" not in line]
    lists = scratch / ("lists" if security else "lists-without-fixes")
    source_list = scratch / f"{lists.name}.list"
    source_list.write_text("\n".join(chosen) + "\n")
    apt = ["apt-get", "--quiet", *_options(root, lists, source_list)]
    if not lists.exists():
        (lists / "partial").mkdir(parents=True)
        run_command([*apt, "update"], timeout_s=_TIMEOUT_S)
    environ = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with _ready_for_packages(root):
        run_command([*apt, "--yes", "install", *packages], environ, timeout_s=_TIMEOUT_S)
        run_command([*apt, "clean"])


@contextmanager
def _ready_for_packages(root: Path) -> Iterator[None]:
    """No package starts a service, and /proc is there, without which Java's does not install."""
    policy, proc = root / "usr/sbin/policy-rc.d", root / "proc"
    policy.write_text(_NO_SERVICES)
    policy.chmod(0o755)
    run_command(["mount", "-t", "proc", "proc", str(proc)])
    try:
        yield
    finally:
        run_command(["umount", str(proc)])
        policy.unlink()


def _options(root: Path, lists: Path, sources: Path) -> list[str]:
    """apt-get of this machine at work on another root: its dpkg runs there, its downloads run here."""
    values = {
        "APT::Install-Recommends": "false",
        "DPkg::Chroot-Directory": root,
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": root / "var/lib/apt",
        "Dir::State::Lists": lists,
        "Dir::State::Status": root / "var/lib/dpkg/status",
        "Dir::Cache": lists.parent / f"{lists.name}.cache",
        "Dir::Cache::archives": root / "var/cache/apt/archives",
        "Dir::Log": root / "var/log/apt",
    }
    return [argument for name, value in values.items() for argument in ("-o", f"{name}={value}")]
