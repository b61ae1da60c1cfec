"""The gateway as a process of its own: `python -m tests.registry_hook.gateway.process PICKLED-SETTINGS`."""

from __future__ import annotations

import json
import pickle
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from registry_hook import logs
from registry_hook.gateway import GatewaySettings, run_gateway
from tests.peers.server import Server, free_port

ROOT = Path(__file__).parents[3]


class GatewayProcess(Server):
    """A gateway on a free port.

    Args:
        directory: gets the log.
        settings: everything but the ports.
    """

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        port, metrics_port = free_port(), free_port()
        self._metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        # A file, since some settings are secrets, and command lines are there for all to see.
        pickled = directory / "gateway.settings"
        pickled.write_bytes(pickle.dumps(replace(settings, port=port, metrics_port=metrics_port)))
        command = [sys.executable, "-m", "tests.registry_hook.gateway.process", str(pickled)]
        environ = {"PYTHONPATH": str(ROOT)}
        super().__init__(command, port, directory / "gateway.log", ready_path="/healthz", environ=environ)

    def requests(self) -> list[dict[str, Any]]:
        """The access log, once no answer is under way: an entry is written after its last byte."""
        deadline = time.monotonic() + 30
        while "dragonhook_gateway_answers_running 0.0" not in httpx.get(self._metrics_url).text.splitlines():
            assert time.monotonic() < deadline, "an answer of the gateway does not end"
            time.sleep(0.02)
        entries = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == "request"]


def main(pickled: Path) -> None:
    logs.configure("info", "gateway")
    settings = pickle.loads(pickled.read_bytes())
    assert isinstance(settings, GatewaySettings)
    run_gateway(settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
