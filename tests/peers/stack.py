"""A registry and `dragonhook serve`, wired as users wire them: notifications one way, redirects the other."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from tests.peers.registries import Notifications, Registry, RegistryKind, RegistryOptions
from tests.peers.server import LOOPBACK, Server, free_ports

Settings = Mapping[str, Mapping[str, object]]
# Four Python processes that import everything: 3 s on an idle machine, 25 s were seen on a busy one.
START_TIMEOUT_S = 90.0
COMMAND = Path(sys.executable).parent / "dragonhook"


class Service(Server):
    """`dragonhook serve` with a settings file of its own.

    Args:
        directory: an empty directory for settings, state and log.
        settings: the tables of the settings file, beside the ports and the state directory.
        ports: three loopback ports, for web, gateway and the gateway's metrics; free ones if none are given.
    """

    def __init__(self, directory: Path, settings: Settings, ports: Sequence[int] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        web, gateway, metrics = ports or free_ports(3)
        self.state = directory / "state"
        self.config = directory / "dragonhook.toml"
        self.public_key = self.state / "signing.pub"
        self.gateway_url = f"http://{LOOPBACK}:{gateway}"
        self._metrics_url = f"http://{LOOPBACK}:{metrics}/metrics"
        tables: dict[str, dict[str, object]] = {name: dict(table) for name, table in settings.items()}
        tables.setdefault("web", {})["listen"] = f"{LOOPBACK}:{web}"
        tables.setdefault("gateway", {})["listen"] = f"{LOOPBACK}:{gateway}"
        tables["gateway"]["metrics_listen"] = f"{LOOPBACK}:{metrics}"
        self.config.write_text(f"state_dir = {json.dumps(str(self.state))}\n" + to_toml(tables))
        command = [str(COMMAND), "--config", str(self.config), "serve"]
        super().__init__(command, web, directory / "service.log", ready_path="/readyz")

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Starts the service and waits until webhook, API and gateway answer."""
        super().start(timeout_s)

    def is_ready(self) -> bool:
        """Whether webhook, API and gateway answer now."""
        return super().is_ready() and _answers(self.gateway_url)

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON that the API answers.

        Raises:
            httpx.HTTPStatusError: the answer is not a success.
        """
        answer = httpx.get(f"{self.url}{path}", params=query, timeout=10, trust_env=False)
        return answer.raise_for_status().json()

    def gateway_bytes(self) -> int:
        """How many bytes of blobs the gateway has sent since it was started."""
        text = httpx.get(self._metrics_url, timeout=10, trust_env=False).raise_for_status().text
        samples = [line for line in text.splitlines() if line.startswith("dragonhook_gateway_bytes_total")]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in samples))


class Stack:
    """A registry whose pushes are converted and whose blobs come through the gateway.

    Args:
        directory: an empty directory.
        kind: which registry.
        settings: more tables for the service's settings file.
    """

    def __init__(
        self, directory: Path, kind: RegistryKind = RegistryKind.V2, settings: Settings | None = None
    ) -> None:
        token = secrets.token_hex(16)
        port, *service_ports = free_ports(4)
        storage = directory / "registry" / "storage"
        tables: dict[str, dict[str, object]] = {name: dict(table) for name, table in (settings or {}).items()}
        tables.setdefault("registry", {})["url"] = f"http://{LOOPBACK}:{port}"
        tables.setdefault("web", {})["token"] = token
        # Without a signature in the redirect the gateway serves whoever reaches it, here only this machine.
        tables.setdefault("gateway", {}).update(origin=f"filesystem:{storage}", closed_network=True)
        self.service = Service(directory / "service", tables, service_ports)
        notifications = Notifications(f"{self.service.url}/v1/events/distribution", token)
        options = RegistryOptions(notifications=notifications, redirect_url=self.service.gateway_url)
        self.registry = Registry(kind, directory / "registry", options, port)

    def reference(self, name: str) -> str:
        """`HOST/name` for clients."""
        return f"{self.registry.host}/{name}"

    def start(self) -> None:
        """Starts both; the service sweeps the registry when it starts, so the registry comes first."""
        self.registry.start()
        try:
            self.service.start()
        except BaseException:
            self.registry.stop()
            raise

    def stop(self) -> None:
        """Stops both."""
        self.service.stop()
        self.registry.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def to_toml(tables: Settings) -> str:
    """A settings file."""
    lines = []
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """A value as TOML has it; tables, also those of an array, are written inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    # A JSON string, number or boolean is one of TOML too.
    return json.dumps(value)
