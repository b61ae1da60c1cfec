"""Installs the real programs that tests run against: `python3 -m tests.peers.install GROUP...`.

Needs only Python's standard library, because it runs before there is a virtual environment. Takes everything
from package registries through their ordinary clients (apt-get, go, cargo), installs only what is
missing, and shows how long each step took. A program is built in a temporary directory and renamed into
the cache when it is complete, so an interrupted run leaves nothing half-installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.peers.pins import DEBIAN, GO, RUST, BuiltPeer, DebianPeer, cache_directory

GROUPS: Final = ("demo-debian", "debian", "go", "nydus", "rust")
PROGRESS_EVERY_S: Final = 15.0
WRAPPERS: Final = Path(__file__).parent / "go"
POLICY: Final = Path("/usr/sbin/policy-rc.d")
# nydus-rs compiles C libraries (OpenSSL, zlib-ng, zstd) with these.
RUST_BUILD_PACKAGES: Final = {
    "cc": "build-essential",
    "cmake": "cmake",
    "perl": "perl",
    "pkg-config": "pkg-config",
}


class InstallError(Exception):
    """A program cannot be had; the message says which, why, and what to do."""


def say(text: str) -> None:
    """Prints one line at once, also when the output is a pipe."""
    print(f"peers: {text}", flush=True)


def elapsed(since: float) -> str:
    """Time since `since` (a `time.monotonic()`), as people read it."""
    minutes, seconds = divmod(round(time.monotonic() - since), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def run(
    title: str,
    command: Sequence[str],
    log: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Runs `command` at the lowest priority with its output in `log`, and shows that it is alive.

    Raises:
        InstallError: the command failed; the message has the end of its output.
    """
    started = shown = time.monotonic()
    say(f"{title} …")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["nice", "-n", "19", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})}, cwd=cwd,
        )  # fmt: skip
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - shown >= PROGRESS_EVERY_S:
                    shown = time.monotonic()
                    say(f"{title} … {elapsed(started)}: {' '.join(tail(log, 1))[:90]}")
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        end = "\n  ".join(tail(log, 15))
        raise InstallError(f"{title}: `{' '.join(command)}` ended with {process.returncode}:\n  {end}")
    say(f"{title}: done in {elapsed(started)}")


def tail(log: Path, count: int) -> list[str]:
    """The last `count` lines of a file."""
    with log.open(errors="replace") as lines:
        return [line.strip() for line in deque(lines, count)]


@contextlib.contextmanager
def exclusively(name: str) -> Iterator[None]:
    """Keeps two installers from building the same thing at once; the second one waits and finds it done."""
    locks = cache_directory() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another installer is at work on {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def installed_version(package: str) -> str | None:
    """Version of an installed Debian package; None if it is not installed."""
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    status, _, version = query.stdout.partition(" ")
    return version if status == "installed" else None


def install_debian(peers: Sequence[DebianPeer]) -> None:
    """Installs those of `peers` that are missing, without the services that some of them would start.

    Raises:
        InstallError: not Debian, not root, or apt-get failed.
    """
    if shutil.which("dpkg-query") is None:
        raise InstallError("the Debian programs need Debian 12 (there is no dpkg-query here)")
    with exclusively("debian"):
        missing = [peer for peer in peers if installed_version(peer.package) is None]
        if missing:
            apt_install([f"{peer.package}={peer.version}*" for peer in missing])
            for peer in missing:
                if peer.service is not None:
                    # Also not at the next boot: the tests start their own, on other ports.
                    subprocess.run(["update-rc.d", peer.service, "disable"], check=False, capture_output=True)
    for peer in peers:
        version = installed_version(peer.package) or ""
        if not version.startswith(peer.version):
            say(f"WARNING: {peer.package} is {version}; the tests are written for {peer.version}")
    say(f"Debian: {len(peers)} packages, {len(missing)} of them new")


def apt_install(packages: Sequence[str]) -> None:
    """`apt-get update` and `apt-get install`.

    Raises:
        InstallError: not root, or apt-get failed.
    """
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        raise InstallError(
            f"these Debian packages are missing, and installing them needs root; run\n  "
            f"sudo apt-get update && sudo {' '.join(install)}"
        )
    environ = {"DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryDirectory() as directory, without_services():
        log = Path(directory) / "log"
        run("apt-get update", ["apt-get", "update", "-q"], log, environ)
        run(f"apt-get install {' '.join(packages)}", install, log, environ)


@contextlib.contextmanager
def without_services() -> Iterator[None]:
    """Keeps packages from starting their services while they are installed.

    Source: Debian's `invoke-rc.d(8)`: exit status 101 of policy-rc.d means "action not allowed".
    """
    if POLICY.exists():  # The machine's owner has decided already.
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install_built(peer: BuiltPeer, build: Callable[[BuiltPeer, Path], None]) -> None:
    """Builds `peer` into the cache, unless it is there.

    Args:
        peer: what to build.
        build: puts the binaries into `bin/` of the directory it is given, and may use the rest as it likes.

    Raises:
        InstallError: the build failed, or did not yield a program that the table names.
    """
    peers = cache_directory() / "peers"
    target = peers / peer.directory
    with exclusively(peer.directory):
        if target.is_dir():
            say(f"{peer.name} {peer.version}: there already")
            return
        peers.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=peers, prefix=f".{peer.directory}-") as directory:
            scratch = Path(directory)
            build(peer, scratch)
            lacking = [program for program in peer.programs if not (scratch / "bin" / program).is_file()]
            if lacking:
                raise InstallError(f"{peer.source}@{peer.version} built, but without {', '.join(lacking)}")
            complete = scratch / "complete"
            complete.mkdir()
            (scratch / "bin").rename(complete / "bin")
            complete.rename(target)


def build_go(peer: BuiltPeer, scratch: Path) -> None:
    """Builds a program with the Go toolchain into `scratch/bin`."""
    if shutil.which("go") is None:
        raise InstallError(f"{peer.name} needs the Go toolchain, version 1.26 or newer, on PATH as `go`")
    missing = [] if not peer.cgo or shutil.which("cc") else ["build-essential"]
    install_needed([*missing, *absent(peer.needs)])
    environ = {"GOBIN": str(scratch / "bin"), "CGO_ENABLED": "1" if peer.cgo else "0"}
    options = ["-v", "-trimpath", "-ldflags=-s -w"]
    if peer.wrapper is None:
        command = ["go", "install", *options, f"{peer.source}@v{peer.version}"]
        run(f"{peer.name} {peer.version} (go install)", command, scratch / "log", environ)
        return
    # Only what the committed go.mod and go.sum name; -buildvcs wants a git repository that it may read.
    command = ["go", "install", "-mod=readonly", "-buildvcs=false", *options, "tool"]
    directory = WRAPPERS / peer.wrapper
    run(f"{peer.name} {peer.version} (go install)", command, scratch / "log", environ, directory)
    for built, name in peer.renamed:
        (scratch / "bin" / built).rename(scratch / "bin" / name)


def absent(packages: Sequence[str]) -> list[str]:
    """Those of some Debian packages that are not installed."""
    return [package for package in packages if installed_version(package) is None]


def install_needed(packages: Sequence[str]) -> None:
    """Installs what a build needs of Debian, if anything is missing."""
    if packages:
        with exclusively("debian"):
            apt_install(packages)


def build_rust(peer: BuiltPeer, scratch: Path) -> None:
    """Builds programs with `cargo install` into `scratch/bin`."""
    if shutil.which("cargo") is None:
        raise InstallError(f"{peer.name} needs the Rust toolchain on PATH as `cargo`")
    tools = [package for tool, package in RUST_BUILD_PACKAGES.items() if shutil.which(tool) is None]
    install_needed([*tools, *absent(peer.needs)])
    binaries = [argument for program in peer.programs for argument in ("--bin", program)]
    run(
        f"{peer.name} {peer.version} (cargo install)",
        ["cargo", "install", "--locked", "--root", str(scratch), *binaries, f"{peer.source}@{peer.version}"],
        scratch / "log",
        {
            "CARGO_TARGET_DIR": str(scratch / "target"),
            # Whole-program optimisation is most of the build's time, and the tests need none of it.
            "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
            "CARGO_PROFILE_RELEASE_DEBUG": "0",
        },
    )


def install(group: str) -> None:
    """Installs one group of the table.

    Raises:
        InstallError: something of it cannot be had.
    """
    if group == "demo-debian":
        install_debian([peer for peer in DEBIAN if peer.demo])
    elif group == "debian":
        install_debian(DEBIAN)
    elif group == "go":
        for peer in GO:
            install_built(peer, build_go)
    else:
        for peer in RUST:
            if group in ("rust", peer.name):
                install_built(peer, build_rust)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status is 0 if everything asked for is installed."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.peers.install", description=__doc__.splitlines()[0]
    )
    parser.add_argument("groups", nargs="+", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    groups = parser.parse_args(arguments).groups
    started = time.monotonic()
    try:
        for group in groups:
            install(group)
    except InstallError as error:
        print(f"peers: ERROR: {error}", file=sys.stderr)
        return 1
    say(f"{' '.join(groups)}: ready in {elapsed(started)}, cache {cache_directory()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
