"""`dragonhook serve` refuses settings that cannot work before it starts anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_hook import logs
from registry_hook.cli import main
from registry_hook.state import claim_state_directory
from registry_hook.supervisor import Supervisor
from signer.keys import SigningKey
from tests.peers.server import free_ports

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Supervisor]:
    """The supervisors that were told to run; they start nothing here."""
    found: list[Supervisor] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Supervisor, "run", lambda supervisor: found.append(supervisor))
    # It would take the log of this process away from the tests that come later.
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    return found


def serve(tmp_path: Path, **tables: str) -> Result:
    web, gateway = free_ports(2)
    given = {
        "registry": 'url = "http://127.0.0.1:5000"',
        "web": f'listen = "127.0.0.1:{web}"',
        "gateway": f'listen = "127.0.0.1:{gateway}"',
    }
    for name, lines in tables.items():
        key = given.get(name, "").partition(" ")[0]
        repeated = any(line.startswith(f"{key} ") for line in lines.splitlines())
        given[name] = lines if repeated else f"{given.get(name, '')}\n{lines}"
    path = tmp_path / "dragonhook.toml"
    text = "".join(f"[{name.replace('__', '.')}]\n{lines}\n" for name, lines in given.items())
    path.write_text(f'state_dir = "{tmp_path}/state"\n{text}')
    return CliRunner().invoke(main, ["serve", "--config", str(path)])


def test_settings_that_work_start_the_children(tmp_path: Path, started: list[Supervisor]) -> None:
    result = serve(tmp_path)
    assert result.exit_code == 0, result.output
    assert len(started) == 1


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"convert": "kernel_mountable = true"}, 'convert: kernel_mountable needs compressor = "none"'),
        ({"convert": "fs_version = 5\nshare_layers = true"}, "convert: share_layers is for RAFS 6"),
        (
            {"convert": 'fs_version = 5\nkernel_mountable = true\ncompressor = "none"'},
            "convert: kernel_mountable excludes fs_version 5",
        ),
        (
            {"convert": 'oci_ref = true\nkernel_mountable = true\ncompressor = "none"\ndigester = "sha256"'},
            "convert: oci_ref excludes kernel_mountable",
        ),
        ({"convert": 'prefetch = ["etc"]'}, "convert: a path in prefetch must be absolute"),
        ({"convert": "chunk_size = 5000"}, "convert: chunk_size must be a power of two"),
        ({"gateway": 'origin = "/srv/registry"'}, "gateway.origin: '/srv/registry' is neither filesystem:"),
        ({"gateway": 'origin = "filesystem:srv"'}, "gateway.origin: 'filesystem:srv' needs an absolute path"),
        ({"store": 'location = "nonsense"'}, "store.location: 'nonsense' is neither"),
        ({"registry": 'password_file = "/nowhere"\nusername = "u"'}, "registry.password_file: cannot read"),
        ({"registry": 'ca_file = "/nowhere"'}, "registry: CA file /nowhere"),
        ({"web": 'token_file = "/nowhere"'}, "web.token_file: cannot read the secret file /nowhere"),
        ({"web": 'read_token_file = "/nowhere"'}, "web.read_token_file: cannot read"),
        ({"jobs": 'database_file = "/nowhere"'}, "jobs.database_file: cannot read"),
        ({"signing": 'password_file = "/nowhere"'}, "signing.password_file: cannot read"),
        ({"signing": 'key_file = "/nowhere"'}, "signing.key_file: "),
        (
            {"store": 'location = "s3://b"', "store__s3": 'secret_key_file = "/nowhere"'},
            "store.s3.secret_key_file: cannot read",
        ),
        (
            {"gateway": 'origin = "s3://b"', "gateway__origin_s3": 'secret_key_file = "/nowhere"'},
            "gateway.origin_s3.secret_key_file: cannot read",
        ),
    ],
)
def test_what_is_wrong_is_named_before_anything_starts(
    tmp_path: Path, started: list[Supervisor], tables: dict[str, str], message: str
) -> None:
    result = serve(tmp_path, **tables)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert started == []


@pytest.mark.parametrize(
    ("password", "named"),
    [
        ('password = "wrong"', "signing.key_file, signing.password: "),
        ("", "signing.key_file (signing.password is not set): "),
    ],
)
def test_a_password_that_does_not_open_the_key_is_named(
    tmp_path: Path, started: list[Supervisor], password: str, named: str
) -> None:
    SigningKey.load_or_generate(tmp_path / "key.pem", b"right")
    result = serve(tmp_path, signing=f'key_file = "{tmp_path}/key.pem"\n{password}')
    assert result.exit_code == 2, result.output
    assert f"Error: {named}" in result.output
    assert "right" not in result.output
    assert started == []


@pytest.mark.parametrize("setting", ["web.listen", "gateway.listen", "gateway.metrics_listen"])
def test_an_address_that_is_taken_names_its_setting(
    tmp_path: Path, started: list[Supervisor], setting: str
) -> None:
    table, name = setting.split(".")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = serve(tmp_path, **{table: f'{name} = "{address}"'})
    assert result.exit_code == 2, result.output
    told = f"Error: {setting}: cannot listen on {address}: Address already in use"
    assert result.output.splitlines()[-1] == told
    assert started == []


def test_one_address_for_two_listeners_is_refused(tmp_path: Path, started: list[Supervisor]) -> None:
    (port,) = free_ports(1)
    address = f'listen = "127.0.0.1:{port}"'
    result = serve(tmp_path, web=address, gateway=address)
    assert (result.exit_code, started) == (2, [])
    assert f"gateway.listen: cannot listen on 127.0.0.1:{port}: Address already in use" in result.output


HOLDER = (
    "import os, subprocess, sys, time\n"
    "from pathlib import Path\n"
    "from registry_hook.state import claim_state_directory\n"
    "held = claim_state_directory(Path(sys.argv[1]))\n"
    "if len(sys.argv) > 2:\n"
    "    subprocess.Popen(['sleep', sys.argv[2]], pass_fds=[held], stdout=subprocess.DEVNULL)\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def holder(directory: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    directory.mkdir(exist_ok=True, mode=0o700)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_one_on_a_state_directory_ends_at_once(tmp_path: Path, started: list[Supervisor]) -> None:
    with holder(tmp_path / "state") as first:
        begun_s = time.monotonic()
        result = serve(tmp_path)
        assert time.monotonic() - begun_s < 3
    assert (result.exit_code, started) == (2, [])
    assert f"state_dir: `dragonhook serve` is running with {tmp_path}/state already" in result.output
    assert str(first.pid) in result.output
    assert result.output.count("\n") == 1


def test_a_killed_one_is_followed_as_soon_as_its_children_are_gone(tmp_path: Path) -> None:
    with holder(tmp_path / "state", "1.5") as first:
        begun_s = time.monotonic()
        first.kill()
        first.wait()
        os.close(claim_state_directory(tmp_path / "state"))
        assert 0.5 < time.monotonic() - begun_s < 8
