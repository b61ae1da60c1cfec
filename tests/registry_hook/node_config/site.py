"""A deployment: a registry set up with what `dragonhook config` prints, and the service."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from tests.peers.programs import find_program, run_command
from tests.peers.registries import RegistryKind
from tests.peers.server import LOOPBACK, Place, Server, free_ports
from tests.peers.stack import START_TIMEOUT_S

DRAGONHOOK = (sys.executable, "-m", "registry_hook.cli")


class Site:
    """A registry and `dragonhook serve` at an address of this machine.

    Args:
        directory: an empty directory.
        kind: which registry.
        address: where both listen.
        settings: more tables of the settings file; ORIGIN stands for the URL of the private
            origin, which there is only then.
        gateway: lines of its table `[gateway]`.
        storage: the registry's storage, in YAML; a directory by default.
        origin: `gateway.origin` for it.
        process: `serve`, or `gateway` for that alone.
        options: of `dragonhook config registry`.
    """

    def __init__(
        self,
        directory: Path,
        kind: RegistryKind = RegistryKind.V2,
        address: str = LOOPBACK,
        settings: str = "",
        gateway: str = "closed_network = true",
        storage: str | None = None,
        origin: str | None = None,
        process: str = "serve",
        options: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        registry, web, gateway_port, metrics, origin_port = free_ports(5)
        content = directory / "registry"
        self._options = options
        # A gateway alone makes none: a store that is not there may only not be mounted.
        (directory / "state" / "store").mkdir(parents=True, mode=0o700)
        self.settings = directory / "dragonhook.toml"
        self.settings.write_text(f"""\
state_dir = "{directory / "state"}"
[registry]
url = "http://{address}:{registry}"
[web]
listen = "{address}:{web}"
[gateway]
listen = "{address}:{gateway_port}"
metrics_listen = "{address}:{metrics}"
{f'origin_listen = "{address}:{origin_port}"' if "ORIGIN" in settings else ""}
origin = "{origin or f"filesystem:{content}"}"
{gateway}
{settings.replace("ORIGIN", f"http://{address}:{origin_port}")}
""")
        base = f"""\
version: 0.1
http: {{addr: "{address}:{registry}", secret: "not one"}}
storage:
  {storage or f"filesystem: {{rootdirectory: {content}}}"}
"""
        self.registry_config = directory / "config.yml"
        self.registry_config.write_text(base)
        place = Place(address)
        # The S3 driver of 2.8.2 panics when that variable is set.
        without = ("env", "--unset=AWS_CA_BUNDLE")
        self.registry = Server(
            [*without, str(find_program(kind)), "serve", str(self.registry_config)], registry,
            directory / "registry.log", ready_path="/v2/", place=place,
            environ={"OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
        self.service = Server(
            [*DRAGONHOOK, "--config", str(self.settings), process],
            web if process == "serve" else gateway_port,
            directory / "service.log", ready_path="/readyz", place=place,
        )  # fmt: skip
        self.gateway_url = f"http://{address}:{gateway_port}"
        self._metrics_url = f"http://{address}:{metrics}/metrics"
        self._stack = ExitStack()

    def config(self, *words: str) -> str:
        """What `dragonhook config …` prints."""
        return run_command([*DRAGONHOOK, "--config", str(self.settings), "config", *words])

    def _set_registry_up(self) -> None:
        """Joins what `dragonhook config registry` prints to the registry's configuration."""
        printed = self.config("registry", "--show-secrets", *self._options)
        text = self.registry_config.read_text()
        # What belongs to a table that is there goes into it, as the comment says.
        others, _, to_s3 = printed.partition("storage:\n  s3:\n")
        self.registry_config.write_text(text.replace("  s3:\n", f"  s3:\n{to_s3}") + others)

    def __enter__(self) -> Self:
        self._set_registry_up()
        self.registry.start()
        self._stack.callback(self.registry.stop)
        try:
            self.service.start(START_TIMEOUT_S)
        except BaseException:
            self._stack.close()
            raise
        self._stack.callback(self.service.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def jobs(self) -> list[Mapping[str, Any]]:
        """The service's jobs."""
        answer = httpx.get(f"{self.service.url}/v1/jobs", timeout=10, trust_env=False)
        jobs: list[Mapping[str, Any]] = answer.raise_for_status().json()["jobs"]
        return jobs

    def gateway_bytes(self) -> int:
        """How many bytes of blobs the gateway has sent, to clients as well as to peers."""
        text = httpx.get(self._metrics_url, timeout=10, trust_env=False).raise_for_status().text
        samples = [
            line for line in text.splitlines() if re.match(r"dragonhook_gateway\w*_bytes_total[{ ]", line)
        ]
        assert samples
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in samples))
