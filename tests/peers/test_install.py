"""The installer: complete or absent, never in between."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.peers import install, pins
from tests.peers.install import InstallError, install_built
from tests.peers.pins import BuiltPeer, built_directory, cache_directory
from tests.peers.programs import MissingProgramError, find_program

PEER = BuiltPeer("echo", "1.2.3", "example.org/echo", ("echo",))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dragonhook"


def build(peer: BuiltPeer, scratch: Path) -> None:
    (scratch / "bin").mkdir()
    (scratch / "bin" / "echo").write_text("#!/bin/sh\n")
    (scratch / "leftovers").mkdir()


def contents(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache / "peers")) for path in (cache / "peers").rglob("*"))


def test_keeps_only_the_binaries(cache: Path) -> None:
    install_built(PEER, build)
    assert contents(cache) == ["echo-1.2.3", "echo-1.2.3/bin", "echo-1.2.3/bin/echo"]
    assert (built_directory(PEER) / "echo").is_file()


def test_builds_only_what_is_missing(cache: Path) -> None:
    install_built(PEER, build)
    install_built(PEER, lambda peer, scratch: pytest.fail("built again"))


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    def fail(peer: BuiltPeer, scratch: Path) -> None:
        build(peer, scratch)
        raise InstallError("the compiler says no")

    with pytest.raises(InstallError, match="compiler"):
        install_built(PEER, fail)
    assert contents(cache) == []


def test_a_build_without_the_program_is_an_error(cache: Path) -> None:
    with pytest.raises(InstallError, match=r"example\.org/echo@1\.2\.3 built, but without echo"):
        install_built(PEER, lambda peer, scratch: (scratch / "bin").mkdir())
    assert contents(cache) == []


def test_two_installers_build_once(cache: Path) -> None:
    builds = []

    def slow(peer: BuiltPeer, scratch: Path) -> None:
        builds.append(peer)
        time.sleep(0.3)
        build(peer, scratch)

    threads = [threading.Thread(target=install_built, args=(PEER, slow)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_a_failing_command_shows_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"ended with 3:\n  no such module"):
        install.run("a build", ["sh", "-c", "echo no such module; exit 3"], tmp_path / "log")


def test_a_missing_toolchain_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert install.main(["go"]) == 1
    assert "needs the Go toolchain" in capsys.readouterr().err


def test_debian_packages_that_only_root_can_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(InstallError, match=r"sudo apt-get install .* skopeo=1\.9\.3\*"):
        install.apt_install(["skopeo=1.9.3*"])


def test_services_stay_down_while_packages_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "POLICY", policy)
    with install.without_services():
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()
    policy.write_text("the owner's")
    with install.without_services():
        pass
    assert policy.read_text() == "the owner's"


def test_a_missing_program_names_the_command(cache: Path) -> None:
    with pytest.raises(MissingProgramError, match=r"cosign 3\.1\.3 is missing: run `make peers-go`"):
        find_program("cosign")
    with pytest.raises(MissingProgramError, match=r"nydus 2\.2\.0 is missing: run `make peers-rust`"):
        find_program("nydusd")
    with pytest.raises(KeyError):
        find_program("emacs")


def test_no_program_comes_from_two_places() -> None:
    programs = [program for peer in (*pins.DEBIAN, *pins.GO, *pins.RUST) for program in peer.programs]
    assert len(programs) == len(set(programs))


def test_a_wrapper_requires_the_pinned_version() -> None:
    wrapped = [peer for peer in pins.GO if peer.wrapper is not None]
    assert wrapped
    for peer in wrapped:
        directory = install.WRAPPERS / str(peer.wrapper)
        assert f"{peer.source} v{peer.version}" in (directory / "go.mod").read_text()
        assert f"{peer.source} v{peer.version} h1:" in (directory / "go.sum").read_text()


def test_programs_of_a_wrapper_get_their_names_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def go_install(title: str, command: list[str], log: Path, environ: dict[str, str], cwd: Path) -> None:
        calls.append((command[:2], environ["CGO_ENABLED"], cwd))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "daemon").touch()

    monkeypatch.setattr(install, "run", go_install)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    peer = BuiltPeer(
        "old", "1.0.0", "example.org/old", ("daemon-v1",), "old", renamed=(("daemon", "daemon-v1"),), cgo=True
    )
    install.build_go(peer, tmp_path)
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["daemon-v1"]
    assert calls == [(["go", "install"], "1", install.WRAPPERS / "old")]


def test_the_cache_is_outside_the_tree() -> None:
    assert cache_directory({"XDG_CACHE_HOME": "/var/cache"}) == Path("/var/cache/dragonhook")
    assert cache_directory({}) == Path.home() / ".cache/dragonhook"
