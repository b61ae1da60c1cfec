"""The machine that everything comes from: registry, gateway, the peers' private origin, and the blobs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import httpx

from tests.benchmarks.p2p.library import Library
from tests.benchmarks.p2p.results import Mode, Traffic
from tests.peers.namespaces import Node
from tests.peers.programs import find_program
from tests.peers.registries import RegistryKind
from tests.peers.server import Server
from tests.peers.stack import COMMAND

REGISTRY_PORT: Final = 5000
GATEWAY_PORT: Final = 8089
ORIGIN_PORT: Final = 5001
METRICS_PORT: Final = 9100
PEER_PROXY: Final = "127.0.0.1:4001"
"""The proxy of a node's own peer, as the node sees it."""
USER_AGENT: Final = "containerd/2.0 (dragonhook benchmark)"

_GATEWAY_START_S: Final = 90.0
_LOGGED: Final = re.compile(
    r"http\.request\.method=GET .*/blobs/sha256:.* http\.response\.status=20[06] "
    r".*http\.response\.written=(\d+)"
)
_SAMPLE: Final = re.compile(r"^dragonhook_(gateway|origin)_(bytes|requests)_total\{([^}]*)\} (\S+)$", re.M)
# Where the gateway's bytes come from when they are not from the origin's own disk.
_PEERS_SOURCE: Final = 'source="p2p"'

Settings = Mapping[str, object]


class OriginMachine:
    """A registry with its gateway on one node; a context manager.

    Args:
        node: where.
        library: what the registry has.
        mode: whether the registry redirects to the gateway, and what the gateway answers.
        directory: for configuration and logs.
        cluster: the Dragonfly that the gateway reads from or redirects to, as a table of `seeding.clusters`;
            none for `Mode.NATIVE`.
    """

    def __init__(
        self, node: Node, library: Library, mode: Mode, directory: Path, cluster: Settings | None
    ) -> None:
        directory.mkdir(parents=True)
        self._node = node
        self._mode = mode
        self._log = directory / "registry.log"
        self.registry_url = f"http://{node.address}:{REGISTRY_PORT}"
        self.origin_url = f"http://{node.address}:{ORIGIN_PORT}"
        self._metrics_url = f"http://{node.address}:{METRICS_PORT}/metrics"
        self.config = directory / "dragonhook.toml"
        self.config.write_text(self._settings(library, mode, directory, cluster))
        self._servers = (
            self._registry(library, directory, redirects=mode is not Mode.MIRROR),
            Server(
                [str(COMMAND), "--config", str(self.config), "gateway"],
                GATEWAY_PORT, directory / "gateway.log", ready_path="/readyz", place=node.place,
            ),
        )  # fmt: skip

    @staticmethod
    def upstream(node: Node, mode: Mode) -> str:
        """What the proxies of peers ask by themselves: as a mirror the registry, else the private origin."""
        return f"http://{node.address}:{REGISTRY_PORT if mode is Mode.MIRROR else ORIGIN_PORT}"

    def _registry(self, library: Library, directory: Path, redirects: bool) -> Server:
        redirect = {
            "name": "redirect",
            "options": {"baseurl": f"http://{self._node.address}:{GATEWAY_PORT}/"},
        }
        config = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(library.storage)}},
            "http": {"addr": f"{self._node.address}:{REGISTRY_PORT}", "secret": "of a benchmark"},
            **({"middleware": {"storage": [redirect]}} if redirects else {}),
        }
        path = directory / "registry.yml"
        path.write_text(json.dumps(config))
        command = [str(find_program(RegistryKind.V2)), "serve", str(path)]
        return Server(command, REGISTRY_PORT, self._log, ready_path="/v2/", place=self._node.place)

    def _settings(self, library: Library, mode: Mode, directory: Path, cluster: Settings | None) -> str:
        address, location = self._node.address, f"filesystem:{library.storage}"
        tables: dict[str, dict[str, object]] = {
            "registry": {"url": self.registry_url},
            "store": {"location": location},
            "gateway": {
                "listen": f"{address}:{GATEWAY_PORT}",
                "metrics_listen": f"{address}:{METRICS_PORT}",
                "origin_listen": f"{address}:{ORIGIN_PORT}",
                "origin": location,
                "closed_network": True,
                "answer": "peer-redirect" if mode is Mode.PEER else "bytes",
                "peer_url": f"http://{PEER_PROXY}",
                "redirect_clients": ["containerd/"],
                "cache_dir": str(directory / "cache"),
            },
            "seeding": {"origin_url": self.origin_url, "check_interval_s": 3600.0},
        }
        lines = [f"state_dir = {json.dumps(str(directory / 'state'))}"]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        if cluster:
            lines += [
                "",
                "[[seeding.clusters]]",
                *(f"{key} = {_inline(value)}" for key, value in cluster.items()),
            ]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Self:
        registry, gateway = self._servers
        registry.start()
        try:
            gateway.start(_GATEWAY_START_S)
        except BaseException:
            registry.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()

    def traffic(self) -> Traffic:
        """What it has sent since it was started: what came from its own disk, in whatever way it left."""
        logged, before = self._log.read_text(), ""
        while logged != before:  # The registry writes its line when the answer has ended.
            time.sleep(0.3)
            logged, before = self._log.read_text(), logged
        sent = [int(number) for number in _LOGGED.findall(logged)]
        body_bytes, requests = sum(sent), len(sent)
        text = httpx.get(self._metrics_url, timeout=30, trust_env=False).raise_for_status().text
        for where, what, labels, value in _SAMPLE.findall(text):
            if what == "bytes" and _PEERS_SOURCE not in labels:
                body_bytes += round(float(value))
            # What the gateway got from the peers did not come from here.
            from_here = where == "origin" or self._mode is not Mode.BYTES
            if what == "requests" and from_here and 'method="GET"' in labels and 'status="20' in labels:
                requests += round(float(value))
        return Traffic(body_bytes, requests, self._node.sent_bytes())


def _inline(value: object) -> str:
    """A value of TOML: JSON, but for tables."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)
