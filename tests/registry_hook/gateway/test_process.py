"""The process: signals, crashes, and refusal to start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from p2p_seed.store import S3Access
from registry_hook.errors import SettingsError
from registry_hook.gateway import GatewaySettings, run_gateway
from registry_hook.gateway.server import make_sources, serving
from tests.registry_hook.gateway.process import GatewayProcess
from tests.registry_hook.gateway.running import ask, blob_path, connected, stored

CONTENT = bytes(range(256)) * 100_000


def settings_for(root: Path) -> GatewaySettings:
    return GatewaySettings(store=f"filesystem:{root}", closed_network=True)


def test_sigterm_lets_a_running_answer_finish(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT)
    with GatewayProcess(tmp_path, settings_for(root)) as gateway, connected(gateway.url) as link:
        link.request("GET", blob_path(digest))
        answer = link.getresponse()
        received = answer.read(100_000)
        process = gateway._process
        assert process is not None
        os.kill(gateway.pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert received + answer.read() == CONTENT
        assert process.wait(5) == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT)
    with GatewayProcess(tmp_path, settings_for(root)) as gateway, connected(gateway.url) as link:
        link.request("GET", blob_path(digest))
        link.getresponse().read(100_000)
        process = gateway._process
        assert process is not None
        os.kill(gateway.pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.kill(gateway.pid, signal.SIGINT)
        assert process.wait(5) == 0


def test_a_killed_gateway_starts_again_on_the_same_port(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT)
    with GatewayProcess(tmp_path, settings_for(root)) as gateway:
        for _ in range(2):
            with connected(gateway.url) as link:
                link.request("GET", blob_path(digest))
                link.getresponse().read(1000)
                gateway.kill()
            with pytest.raises(ConnectionError):
                ask(gateway.url, blob_path(digest))
            gateway.start()
            assert ask(gateway.url, blob_path(digest)).body == CONTENT


def test_two_gateways_can_share_a_port(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, CONTENT)
    (tmp_path / "second").mkdir()
    sharing = replace(settings_for(root), reuse_port=True)
    with GatewayProcess(tmp_path, sharing) as first:
        second = GatewayProcess(tmp_path / "second", sharing)
        second._command[-1] = first._command[-1]
        process = subprocess.Popen(second._command, env=second._environ, stderr=subprocess.PIPE)
        try:
            assert process.stderr is not None
            assert b"listening" in process.stderr.readline()
            first.kill()
            assert ask(first.url, blob_path(digest)).body == CONTENT
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"store": "nonsense"}, "store.location: 'nonsense'"),
        ({"registry_storage": "filesystem:relative"}, "gateway.origin: .*absolute path"),
        ({"store": "s3://b", "store_s3": S3Access(ca_bundle=Path("/nowhere.pem"))}, "/nowhere.pem"),
        ({"host": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
        ({"host": "no such host.invalid"}, "cannot listen"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    settings = replace(settings_for(tmp_path), port=0, **change)  # type: ignore[arg-type]  # any field
    with pytest.raises(SettingsError, match=problem):
        run_gateway(settings)


def started(settings: GatewaySettings) -> list[EventDict]:
    """What a gateway logs while it starts."""

    async def start() -> None:
        async with serving(settings, make_sources(settings)):
            pass

    with capture_logs() as entries:
        asyncio.run(start())
    return entries


def test_what_is_missing_is_told_by_the_names_of_the_settings(tmp_path: Path) -> None:
    entries = started(GatewaySettings(store=f"filesystem:{tmp_path}", port=0))
    assert entries[0]["origin"] is None
    told = [entry["event"] for entry in entries[1:]]
    assert "set gateway.closed_network = true" in told[0]
    assert told[1].startswith("gateway.origin is not set: ")
    assert len(told) == 2


def test_an_origin_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    origin = f"filesystem:{tmp_path}/nowhere"
    settings = replace(settings_for(tmp_path), port=0, registry_storage=origin)
    (warning,) = started(settings)[1:]
    assert (warning["log_level"], warning["setting"]) == ("warning", "gateway.origin")
    assert f"{tmp_path}/nowhere is not there" in warning["error"]
    (tmp_path / "nowhere").mkdir()
    assert len(started(settings)) == 1
