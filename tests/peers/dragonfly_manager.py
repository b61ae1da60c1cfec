"""Dragonfly v2 as the full set: a manager with Postgres and Redis, a scheduler, and dfdaemons.

Worth knowing: `DRAGONFLY_PAT` makes a personal access token at the first start on an empty database; a
scheduler's `advertisePort` is 8002 unless it is given; the manager's address has a scheme in a dfdaemon's
configuration and none in a scheduler's.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import grpc
import httpx
from dragonfly_api import scheduler_pb2
from dragonfly_api.scheduler_pb2_grpc import SchedulerStub

from tests.peers.dragonfly import Dfdaemon, accepts
from tests.peers.postgres import Postgres
from tests.peers.programs import ProgramError, find_program
from tests.peers.redis import Redis
from tests.peers.server import LOOPBACK, Server, free_ports

_ACTIVE_S: Final = 60.0
# `SeedPeerRefreshInterval` in scheduler/resource/standard/seed_peer.go, and a little.
_LOOKS_FOR_SEEDS_S: Final = 31.0
# Of `common.v2.Host.type`.
_SUPER_SEED: Final = 1
# No space: the manager puts it into a connection string as it is.
_PASSWORD: Final = "only-on-loopback"


class Manager(Server):
    """The manager with its REST interface.

    Args:
        directory: for configuration and log.
        postgres: a running server with an empty database.
        redis_port: of a running Redis with the password of this module.
    """

    def __init__(self, directory: Path, postgres: Postgres, redis_port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        rest_port, grpc_port = free_ports(2)
        self.grpc = f"{LOOPBACK}:{grpc_port}"
        self.token = secrets.token_hex(16)
        configuration = {
            "server": {
                "grpc": {
                    "listenIP": LOOPBACK, "advertiseIP": LOOPBACK,
                    "port": {"start": grpc_port, "end": grpc_port},
                },
                "rest": {"addr": f"{LOOPBACK}:{rest_port}"},
                "logDir": str(directory / "logs"), "pluginDir": str(directory / "plugins"),
            },
            "auth": {
                "jwt": {
                    "realm": "Dragonfly", "timeout": "336h", "maxRefresh": "336h",
                    "key": base64.b64encode(secrets.token_bytes(32)).decode(),
                }
            },
            "database": {
                "type": "postgres",
                "postgres": {
                    "user": "tester", "password": _PASSWORD, "host": LOOPBACK, "port": postgres.port,
                    "dbname": "postgres", "sslMode": "disable", "timezone": "UTC", "migrate": True,
                },
                "redis": _redis(redis_port),
            },
            "metrics": {"enable": False},
        }  # fmt: skip
        config = directory / "manager.yaml"
        config.write_text(json.dumps(configuration))
        super().__init__(
            [str(find_program("manager")), "--config", str(config), "--console"],
            rest_port, directory / "manager.log", ready_path="/healthy",
            environ={"DRAGONFLY_PAT": self.token},
        )  # fmt: skip

    def wait_for_scheduler(self) -> None:
        """Waits until it thinks that a scheduler is alive. A dfdaemon that starts before ends at once.

        Raises:
            ProgramError: it takes too long.
        """
        deadline = time.monotonic() + _ACTIVE_S
        with httpx.Client(base_url=self.url, timeout=10, trust_env=False) as client:
            root = {"name": "root", "password": "dragonfly"}
            # Once: a second time within seconds it is refused.
            jwt = client.post("/api/v1/users/signin", json=root).raise_for_status().json()["token"]
            client.headers["Authorization"] = f"Bearer {jwt}"
            while True:
                found = client.get("/api/v1/schedulers").raise_for_status().json()
                if any(scheduler["state"] == "active" for scheduler in found):
                    return
                if time.monotonic() > deadline:
                    raise ProgramError(f"no scheduler is active:\n{self.log_text()[-4000:]}")
                time.sleep(0.2)


class ManagedScheduler(Server):
    """A scheduler that belongs to a manager and takes jobs from it."""

    def __init__(self, directory: Path, manager: Manager, redis_port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        configuration = {
            "server": {
                "listenIP": LOOPBACK, "advertiseIP": LOOPBACK, "port": port, "advertisePort": port,
                "logDir": str(directory / "logs"), "pluginDir": str(directory / "plugins"),
            },
            "manager": {"addr": manager.grpc, "schedulerClusterID": 1, "keepAlive": {"interval": "1s"}},
            "database": {"redis": _redis(redis_port)},
            "job": {"enable": True},
            "metrics": {"enable": False},
            "dynConfig": {"refreshInterval": "10s"},
        }  # fmt: skip
        config = directory / "scheduler.yaml"
        config.write_text(json.dumps(configuration))
        command = [str(find_program("scheduler")), "--config", str(config), "--console"]
        super().__init__(command, port, directory / "scheduler.log")

    def is_ready(self) -> bool:
        """Whether its port takes connections."""
        return accepts(LOOPBACK, self.port)

    def launch(self) -> None:
        """Starts it, and its clock."""
        super().launch()
        self._looks_for_seeds_at = time.monotonic() + _LOOKS_FOR_SEEDS_S

    def wait_for_seeds(self, count: int) -> None:
        """Waits until so many seed peers announced themselves, and it looked for them. Jobs before that fail.

        Raises:
            ProgramError: it takes too long.
        """
        deadline = time.monotonic() + _ACTIVE_S
        with grpc.insecure_channel(self.host) as channel:
            stub = SchedulerStub(channel)  # type: ignore[no-untyped-call]  # generated
            while True:
                hosts = stub.ListHosts(scheduler_pb2.ListHostsRequest(), timeout=10).hosts
                if sum(host.type == _SUPER_SEED for host in hosts) >= count:
                    break
                if time.monotonic() > deadline:
                    raise ProgramError(f"the scheduler knows {len(hosts)} hosts:\n{self.log_text()[-4000:]}")
                time.sleep(0.2)
        time.sleep(max(0.0, self._looks_for_seeds_at - time.monotonic()))


class FullSet:
    """All of it; a context manager.

    Args:
        directory: an empty directory.
        seeds: how many seed peers.
        peers: how many ordinary peers.
        upstream: base URL that their proxies ask for blobs unless a request names another.
    """

    def __init__(self, directory: Path, seeds: int = 1, peers: int = 0, *, upstream: str) -> None:
        self._directory = directory
        self._names = [(f"seed{number}", True) for number in range(seeds)]
        self._names += [(f"peer{number}", False) for number in range(peers)]
        self._upstream = upstream
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            postgres = running.enter_context(Postgres())
            redis = running.enter_context(Redis(self._directory, _PASSWORD))
            self.manager = running.enter_context(Manager(self._directory / "manager", postgres, redis.port))
            self.scheduler = running.enter_context(
                ManagedScheduler(self._directory / "scheduler", self.manager, redis.port)
            )
            self.manager.wait_for_scheduler()
            daemons = [self._dfdaemon(name, seed) for name, seed in self._names]
            for daemon in daemons:
                daemon.launch()
                running.callback(daemon.kill)
            for daemon in daemons:
                daemon.wait()
            self.scheduler.wait_for_seeds(sum(seed for _, seed in self._names))
            self.seeds = daemons[: sum(seed for _, seed in self._names)]
            self.peers = daemons[len(self.seeds) :]
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _dfdaemon(self, name: str, seed: bool) -> Dfdaemon:
        return Dfdaemon(
            self._directory / name, name, self.scheduler.host, seed=seed, upstream=self._upstream,
            settings={
                "manager": {"addr": f"http://{self.manager.grpc}"},
                "scheduler": {"announceInterval": "1s", "scheduleTimeout": "20s", "maxScheduleCount": 5},
            },
        )  # fmt: skip


def _redis(port: int) -> dict[str, Any]:
    return {
        "addrs": [f"{LOOPBACK}:{port}"],
        "password": _PASSWORD,
        "db": 0,
        "brokerDB": 1,
        "backendDB": 2,
    }
