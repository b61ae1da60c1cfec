"""Dragonfly v2 as the small set: a scheduler and dfdaemons, without manager and database.

Worth knowing: a scheduler's `advertisePort` is 8002 unless it is given; a dfdaemon does not start without its
scheduler; host name and address together are a dfdaemon's identity.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import grpc
from dragonfly_api import dfdaemon_pb2, dfdaemon_pb2_grpc

from tests.peers.programs import ProgramError, find_program
from tests.peers.server import HERE, Place, Server, free_port, free_ports

# Kernel time for connections that wait for their end (TIME_WAIT) on a port of ours.
_PORT_FREE_AGAIN_S: Final = 65.0


class Scheduler(Server):
    """Dragonfly's scheduler.

    Args:
        directory: for configuration and log.
        port: gRPC port; a free one if none is given.
        place: where to run it.
    """

    def __init__(self, directory: Path, port: int | None = None, place: Place = HERE) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        config = directory / "scheduler.yaml"
        config.write_text(
            json.dumps(
                {
                    "server": {
                        "listenIP": place.address, "advertiseIP": place.address,
                        "port": port, "advertisePort": port,
                        "logDir": str(directory / "logs"), "pluginDir": str(directory / "plugins"),
                    },
                    "job": {"enable": False},
                    "metrics": {"enable": False},
                }
            )
        )  # fmt: skip
        command = [
            str(find_program("scheduler")), "--config", str(config),
            "--dynconfig", str(directory / "dynconfig.yaml"), "--console",
        ]  # fmt: skip
        super().__init__(command, port, directory / "scheduler.log", place=place)

    def is_ready(self) -> bool:
        """Whether its port takes connections."""
        return accepts(self._place.address, self.port)


class Dfdaemon(Server):
    """A peer of Dragonfly: its seed, or an ordinary one.

    Args:
        directory: for configuration, data and log.
        name: host name; with the address the identity, so no two may share it.
        scheduler: `host:port`.
        seed: whether it is a seed peer.
        upstream: base URL that its proxy asks for blobs unless a request names another.
        place: where to run it.
        proxy: address and port for its proxy, reachable by `place`; a free port of `place` if none is given.
        settings: more of its configuration: keys of a section that is there are added to it.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        scheduler: str,
        *,
        seed: bool,
        upstream: str,
        place: Place = HERE,
        proxy: tuple[str, int] | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._directory = directory
        self._seed = seed
        self._upstream = upstream
        self._proxy = proxy
        self._settings = settings or {}
        self.socket = directory / "dfdaemon.sock"
        self._config = directory / "dfdaemon.yaml"
        dynconfig = directory / "dynconfig.yaml"
        dynconfig.write_text(json.dumps({"scheduler": {"addrs": [scheduler]}}))
        command = [
            str(find_program("dfdaemon")), "--config", str(self._config), "--dynconfig", str(dynconfig),
            "--console", "--log-dir", str(directory / "logs"),
        ]  # fmt: skip
        super().__init__(command, 0, directory / "dfdaemon.log", ready_path="", place=place)
        self.take_ports()

    @property
    def grpc(self) -> str:
        """`host:port` of its gRPC service (`dfdaemon.v2.DfdaemonUpload`)."""
        return f"{self._place.address}:{self._ports[1]}"

    @property
    def proxy_url(self) -> str:
        """Base URL of its proxy and mirror."""
        return self.url

    @property
    def metrics_url(self) -> str:
        """Where it shows its metrics."""
        return f"http://{self._place.address}:{self._ports[2]}/metrics"

    @property
    def data(self) -> Path:
        """The directory with the blobs it holds."""
        return self._directory / "data"

    def take_ports(self) -> None:
        """Takes seven free ports, for its next start."""
        self._ports = free_ports(7)
        if self._proxy is not None:
            self._ports[0] = self._proxy[1]
        self.port = self._ports[0]
        self.host = f"{self._place.address}:{self.port}"
        self.url = f"http://{self.host}"
        configuration = self._configuration()
        for name, section in self._settings.items():
            configuration[name] = {**configuration.get(name, {}), **section}
        self._config.write_text(json.dumps(configuration, indent=1))

    def _configuration(self) -> dict[str, Any]:
        address = self._place.address
        proxy, grpc, metrics, health, stats, tcp, quic = self._ports

        def listen(port: int) -> dict[str, object]:
            return {"ip": address, "port": port}

        return {
            "host": {"ip": address, "hostname": self.name},
            "server": {
                "pluginDir": str(self._directory / "plugins"),
                "cacheDir": str(self._directory / "cache"),
            },
            "upload": {"server": listen(grpc)},
            "download": {"server": {"socketPath": str(self.socket)}, "protocol": "tcp"},
            "scheduler": {"announceInterval": "5s", "scheduleTimeout": "20s", "maxScheduleCount": 5},
            "seedPeer": {"enable": self._seed, "type": "super"},
            "storage": {
                "dir": str(self.data), "keep": True,
                "server": {"ip": address, "tcpPort": tcp, "quicPort": quic},
            },
            "proxy": {
                "server": {**listen(proxy), **({"ip": self._proxy[0]} if self._proxy else {})},
                "rules": [{"regex": "blobs/sha256.*", "schedulingPolicy": "always"}],
                "registryMirror": {"addr": self._upstream, "enableTaskIDBasedBlobDigest": True},
            },
            "metrics": {"server": listen(metrics)},
            "health": {"server": listen(health)},
            "stats": {"server": listen(stats)},
        }  # fmt: skip

    def holds(self, task_id: str) -> bool:
        """Whether it has all of a task; of a blob the id is the 64 digits of the digest."""
        with self._service() as service:
            try:
                task = service.StatLocalTask(dfdaemon_pb2.StatLocalTaskRequest(task_id=task_id), timeout=10)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    return False
                raise
            return bool(task.HasField("finished_at"))

    def forget(self, task_id: str) -> None:
        """Makes it delete a task, as when it evicts it."""
        with self._service() as service:
            service.DeleteTask(dfdaemon_pb2.DeleteTaskRequest(task_id=task_id), timeout=10)

    @contextmanager
    def _service(self) -> Iterator[Any]:
        with grpc.insecure_channel(self.grpc) as channel:
            yield dfdaemon_pb2_grpc.DfdaemonUploadStub(channel)  # type: ignore[no-untyped-call]  # generated

    def is_ready(self) -> bool:
        """Whether its proxy and its gRPC service take connections."""
        return all(accepts(self._place.address, port) for port in self._ports[:2])

    def restart(self, *, same_ports: bool = False) -> None:
        """Stops and starts it.

        Args:
            same_ports: wait, up to about a minute, until the old ports can be used again. Without it, it
                comes back at once on other ones, so `grpc` and `proxy_url` change.
        """
        self.stop()
        if not same_ports:
            self.take_ports()
            self.start()
            return
        self.start_on_same_ports()

    def start_on_same_ports(self) -> None:
        """Starts it again where it was, trying for as long as the kernel keeps the ports."""
        deadline = time.monotonic() + _PORT_FREE_AGAIN_S
        while True:
            try:
                return self.start()
            except ProgramError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


class SmallSet:
    """A scheduler with its dfdaemons; a context manager.

    Args:
        directory: an empty directory.
        seeds: how many seed peers.
        peers: how many ordinary peers.
        upstream: base URL that their proxies ask for blobs unless a request names another.
        places: where to run them: scheduler, seeds, peers in this order; here, if none are given.
    """

    def __init__(
        self, directory: Path, seeds: int = 1, peers: int = 0, *, upstream: str, places: Sequence[Place] = ()
    ) -> None:
        where = list(places) or [HERE] * (1 + seeds + peers)
        self.scheduler = Scheduler(directory / "scheduler", place=where[0])
        names = [f"seed{number}" for number in range(seeds)] + [f"peer{number}" for number in range(peers)]
        daemons = [
            Dfdaemon(
                directory / name,
                name,
                self.scheduler.host,
                seed=number < seeds,
                upstream=upstream,
                place=place,
            )
            for number, (name, place) in enumerate(zip(names, where[1:], strict=True))
        ]
        self.seeds, self.peers = daemons[:seeds], daemons[seeds:]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            running.enter_context(self.scheduler)
            for daemon in (*self.seeds, *self.peers):
                daemon.launch()
                # Their orderly end takes seconds, and they are not used again.
                running.callback(daemon.kill)
            for daemon in (*self.seeds, *self.peers):
                daemon.wait()
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def accepts(address: str, port: int) -> bool:
    """Whether something takes TCP connections there."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False
