"""Kraken 0.1.4: an origin, a tracker with Redis, and agents, all on loopback.

Each part of Kraken runs an nginx of its own in front, always `/usr/sbin/nginx`, with a configuration that it
writes to `/tmp/nginx/<name>`. Kraken's own templates listen on all addresses and give all agents one name;
here each part has its own name, and a template that listens on loopback only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import httpx

from converter.oci import Digest
from tests.peers.programs import find_program
from tests.peers.redis import Redis
from tests.peers.server import LOOPBACK, Server, free_ports

NAMESPACE: Final = "_"
"""What a blob belongs to, in Kraken's words. With a registry as the backend it is the repository."""

_SITE: Final = """
server {
  listen 127.0.0.1:{{.port}};
  client_max_body_size 10G;
  access_log off;
  location / { proxy_pass http://%s; }
}
"""
_GENERATED: Final = Path("/tmp/nginx")


class Kraken:
    """The smallest set that runs: one origin, one tracker, Redis, and agents; a context manager.

    Args:
        directory: empty, for files and logs.
        backend: where the origin takes blobs from, as in Kraken's `backends`.
        agents: how many.
        auth: Kraken's `auth`: the credentials of some backends.
    """

    def __init__(
        self,
        directory: Path,
        backend: Mapping[str, Any],
        *,
        agents: int = 1,
        auth: Mapping[str, Any] | None = None,
    ) -> None:
        self.redis = Redis(directory)
        self.origin = KrakenOrigin(directory, backend, auth or {})
        self.tracker = KrakenTracker(directory, self.origin.host, self.redis.port)
        self.agents = [KrakenAgent(directory, f"agent{i}", self.tracker.host) for i in range(agents)]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            for part in (self.redis, self.origin, self.tracker, *self.agents):
                running.enter_context(part)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


class KrakenPart(Server):
    """A part of Kraken, and the nginx that it starts and would leave behind.

    Args:
        program: its program.
        directory: for configuration and files; each part makes a directory of its name.
        name: different for each part.
        configuration: what is not common to all parts.
        inner: `host:port` behind nginx.
        arguments: of the program, beside `--config`.
        port: where readiness is asked.
        ready_path: what is asked.
    """

    def __init__(
        self,
        program: str,
        directory: Path,
        name: str,
        configuration: Mapping[str, Any],
        *,
        inner: str,
        arguments: Sequence[str],
        port: int,
        ready_path: str,
    ) -> None:
        home = directory / name
        home.mkdir()
        (home / "site").write_text(_SITE % inner)
        self._nginx_name = f"{name}-{port}"
        nginx = {
            "name": self._nginx_name,
            "template_path": str(home / "site"),
            "cache_dir": str(home / "nginx"),
            "log_dir": str(home),
        }
        tls = {"server": {"disabled": True}, "client": {"disabled": True}}
        common = {"zap": _LOGGING, "nginx": nginx, "tls": tls}
        (home / "config.yaml").write_text(json.dumps({**common, **configuration}, indent=1))
        command = [str(find_program(program)), "--config", str(home / "config.yaml"), *arguments]
        super().__init__(command, port, home / "log", ready_path=ready_path)

    def stop(self) -> None:
        """Ends both in order."""
        self._end(super().stop, signal.SIGTERM)

    def kill(self) -> None:
        """Ends both at once."""
        self._end(super().kill, signal.SIGKILL)

    def _end(self, end: Callable[[], None], number: signal.Signals) -> None:
        if self._process is None:
            return
        group = self._process.pid
        end()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        (_GENERATED / self._nginx_name).unlink(missing_ok=True)


class KrakenOrigin(KrakenPart):
    """An origin: the seed of Kraken, which fetches blobs from a backend and checks their digest."""

    def __init__(self, directory: Path, backend: Mapping[str, Any], auth: Mapping[str, Any]) -> None:
        port, peer_port, inner_port = free_ports(3)
        home = directory / "origin"
        configuration = {
            "metainfogen": {"piece_lengths": {"0": "1MB"}},
            "peer_id_factory": "addr_hash",
            "scheduler": _SCHEDULER,
            "localdb": {"source": str(home / "origin.db")},
            "castore": {"upload_dir": str(home / "upload"), "cache_dir": str(home / "cache")},
            "blobserver": {"listener": {"net": "tcp", "addr": f"{LOOPBACK}:{inner_port}"}},
            "cluster": {"static": [f"{LOOPBACK}:{port}"]},
            "backends": [{"namespace": ".*", "backend": backend}],
            "auth": auth,
        }
        super().__init__(
            "kraken-origin", directory, "origin", configuration, inner=f"{LOOPBACK}:{inner_port}",
            arguments=[
                "--peer-ip", LOOPBACK, "--peer-port", str(peer_port),
                "--blobserver-hostname", LOOPBACK, "--blobserver-port", str(port),
            ],
            port=port, ready_path="/health",
        )  # fmt: skip
        self.cache = home / "cache"


class KrakenTracker(KrakenPart):
    """A tracker: tells agents who has a blob."""

    def __init__(self, directory: Path, origin: str, redis_port: int) -> None:
        port, inner_port = free_ports(2)
        configuration = {
            "peerstore": {"redis": {"addr": f"{LOOPBACK}:{redis_port}"}},
            "peerhandoutpolicy": {"priority": "completeness"},
            "origin": {"hosts": {"static": [origin]}},
            "trackerserver": {
                "announce_interval": "1s",
                "listener": {"net": "tcp", "addr": f"{LOOPBACK}:{inner_port}"},
            },
        }
        super().__init__(
            "kraken-tracker", directory, "tracker", configuration, inner=f"{LOOPBACK}:{inner_port}",
            arguments=["--port", str(port)], port=port, ready_path="/health",
        )  # fmt: skip


class KrakenAgent(KrakenPart):
    """An agent, which a node reads from. `url` is its own server, `registry_url` the one for engines."""

    def __init__(self, directory: Path, name: str, tracker: str) -> None:
        port, registry_port, peer_port, inner_port = free_ports(4)
        home = directory / name
        configuration = {
            "peer_id_factory": "addr_hash",
            "scheduler": _SCHEDULER,
            "store": {"download_dir": str(home / "download"), "cache_dir": str(home / "cache")},
            "registry": {
                "docker": {
                    "version": 0.1,
                    "log": {"level": "error"},
                    "http": {"net": "tcp", "addr": f"{LOOPBACK}:{inner_port}"},
                }
            },
            "tracker": {"hosts": {"static": [tracker]}},
            # Only tags need it, and nobody asks for one; but it has to be named.
            "build_index": {"hosts": {"static": [tracker]}},
            "allowed_cidrs": [LOOPBACK],
        }
        super().__init__(
            "kraken-agent", directory, name, configuration, inner=f"{LOOPBACK}:{inner_port}",
            arguments=[
                "--peer-ip", LOOPBACK, "--peer-port", str(peer_port),
                "--agent-server-port", str(port), "--agent-registry-port", str(registry_port),
            ],
            port=port, ready_path="/health",
        )  # fmt: skip
        self.cache = home / "cache"
        self.registry_url = f"http://{LOOPBACK}:{registry_port}"

    def has(self, digest: Digest) -> bool:
        """Whether it keeps a blob."""
        return any(self.cache.rglob(digest.hex))

    def get(self, digest: str) -> httpx.Response:
        """Reads a whole blob through it."""
        url = f"{self.url}/namespace/{NAMESPACE}/blobs/{digest}"
        return httpx.get(url, timeout=120, trust_env=False)


# Parts remember for half a minute that they had a connection about a blob; tests forget and fetch again.
_SCHEDULER: Final = {
    "torrentlog": {"disable": True},
    "log": {"disable": True},
    "preemption_interval": "500ms",
    "conn_tti": "1s",
    "connstate": {"blacklist_duration": "1s"},
}
_LOGGING: Final = {
    "level": "info",
    "development": False,
    "encoding": "console",
    "disableStacktrace": True,
    "encoderConfig": {
        "messageKey": "message", "levelKey": "level", "timeKey": "ts",
        "levelEncoder": "capital", "timeEncoder": "iso8601", "durationEncoder": "seconds",
        "callerEncoder": "short",
    },
    "outputPaths": ["stdout"],
    "errorOutputPaths": ["stdout"],
}  # fmt: skip
