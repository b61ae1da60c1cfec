"""What docs/converted-image.md tells people to type, typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from converter.oci import media_types
from tests.conftest import StartRegistry
from tests.peers.programs import find_program, run_command
from tests.peers.registries import Registry, RegistryKind
from tests.registry_hook.world import small_image

PAGE = Path(__file__).parents[2] / "docs/converted-image.md"
_BLOCK = re.compile(r"^```([a-z]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=list(RegistryKind))
def registry(request: pytest.FixtureRequest, start_registry: StartRegistry, tmp_path: Path) -> Registry:
    """A registry with a converted image, `app:v1-nydus`."""
    registry = start_registry(request.param)
    small_image("hello").write_layout(tmp_path / "source", "v1")
    destination = f"docker://127.0.0.1:{registry.port}/app:v1-nydus"
    run_command(
        [sys.executable, "-m", "registry_hook.cli", "convert", f"oci:{tmp_path}/source:v1", destination]
    )
    return registry


def documented(heading: str, registry: Registry, work: Path) -> list[str]:
    """The code blocks of a section, for a registry without TLS and for directories of our own."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    texts = [text for _, text in _BLOCK.findall(section)]
    for wanted, ours in (
        ("https", "http"), ("registry.example", f"127.0.0.1:{registry.port}"),
        ("/var/cache/nydus", str(work / "cache")), ("/mnt/app", str(work / "mnt")),
        ("oras manifest fetch", "oras manifest fetch --plain-http"),
        ("oras blob fetch", "oras blob fetch --plain-http"), ("oras resolve", "oras resolve --plain-http"),
    ):  # fmt: skip
        texts = [text.replace(wanted, ours) for text in texts]
    return texts


@contextmanager
def shell(script: str, work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a script, whose last command is ended at the end of the context if it runs still."""
    directories = [str(find_program(name).parent) for name in ("oras", "nydusd")]
    environ = {**os.environ, "PATH": ":".join([*directories, os.environ["PATH"]])}
    *first, last = script.strip().splitlines()
    command = ["sh", "-euc", "\n".join([*first, f"exec {last}"])]
    with (work / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=work, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.root
@pytest.mark.interop
def test_mounting_with_nydusd(registry: Registry, tmp_path: Path) -> None:
    bootstrap, configuration, mount = documented("Mounting with nydusd", registry, tmp_path)
    with shell(bootstrap, tmp_path) as process:
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    (tmp_path / "nydusd.json").write_text(configuration)
    with shell(mount, tmp_path) as process:
        deadline = time.monotonic() + 30
        while not os.path.ismount(tmp_path / "mnt"):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        assert (tmp_path / "mnt/etc/motd").read_text() == "hello"


@pytest.mark.interop
def test_deleting(registry: Registry, tmp_path: Path) -> None:
    assert request("HEAD", registry) == 200
    (commands,) = documented("Deleting", registry, tmp_path)
    with shell(commands, tmp_path) as process:
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    assert request("HEAD", registry) == 404


@pytest.mark.peers
def test_only_new_registries_delete_a_tag(registry: Registry) -> None:
    assert request("DELETE", registry) == (400 if registry.kind is RegistryKind.V2 else 202)


def request(method: str, registry: Registry) -> int:
    """Asks for the converted tag; the status."""
    url = f"http://127.0.0.1:{registry.port}/v2/app/manifests/v1-nydus"
    headers = {"Accept": media_types.OCI_MANIFEST}
    return httpx.request(method, url, headers=headers, trust_env=False).status_code
