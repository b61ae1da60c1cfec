"""The gateway as a process of its own: `python -m tests.registry_hook.gateway.process SETTINGS-AS-JSON`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2p_seed.store import S3Access
from registry_hook import logs
from registry_hook.gateway import GatewaySettings, run_gateway
from tests.peers.server import Server, free_port

ROOT = Path(__file__).parents[3]


class GatewayProcess(Server):
    """A gateway on a free port.

    Args:
        directory: gets the log.
        settings: everything but the port.
    """

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        port = free_port()
        values = asdict(settings) | {"port": port}
        command = [sys.executable, "-m", "tests.registry_hook.gateway.process", json.dumps(values)]
        environ = {"PYTHONPATH": str(ROOT)}
        super().__init__(command, port, directory / "gateway.log", ready_path="/healthz", environ=environ)

    def requests(self) -> list[dict[str, Any]]:
        """The access log."""
        entries = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == "request"]


def main(values: dict[str, Any]) -> None:
    logs.configure("info", "gateway")
    for name in ("store_s3", "registry_s3"):
        values[name] = S3Access(**values[name]) if values[name] else None
    run_gateway(GatewaySettings(**values))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
