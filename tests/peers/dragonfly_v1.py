"""The old generation of Dragonfly (1.0.6): a SuperNode, and dfdaemons that read through it.

The SuperNode runs its preheats with the dfget at the fixed path `/usr/local/bin/dfget`, which asks the
SuperNode at port 8002. So that nothing of the machine is touched and the port can be any, it gets a mount
namespace of its own (root is needed for that), in which `/usr/local/bin` holds a dfget that is told the port.
Pieces are served by nginx, as in the SuperNode's own container image.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_ports

FILTER: Final = "Expires&Signature"
"""The query parameters that do not count for a task: those of the origin's signed URLs."""

_TASK_EXPIRES: Final = "3m"


class Supernode:
    """A SuperNode with its file server.

    Args:
        directory: empty, for its files and logs.
        task_expires: how long it keeps a blob that nobody asks for, as Go writes durations; by default the
            3 minutes that it has by default.
        collection_interval: how often it looks for such blobs.
    """

    def __init__(
        self, directory: Path, *, task_expires: str = _TASK_EXPIRES, collection_interval: str = "2m"
    ) -> None:
        self.home = directory / "home"
        (self.home / "repo").mkdir(parents=True)
        port, download_port = free_ports(2)
        self._files = Server(
            [str(find_program("nginx")), "-c", str(_nginx(directory, self.home / "repo", download_port))],
            download_port,
            directory / "nginx.log",
        )
        configuration = {
            "base": {
                "listenPort": port,
                "downloadPort": download_port,
                "homeDir": str(self.home),
                "downloadPath": str(self.home / "repo" / "download"),
                "advertiseIP": LOOPBACK,
                "failAccessInterval": "1s",
                "gcInitialDelay": collection_interval,
                "gcMetaInterval": collection_interval,
                "taskExpireTime": task_expires,
            }
        }
        (directory / "supernode.yml").write_text(json.dumps(configuration))
        self._server = Server(
            [
                *_in_own_mounts(_dfget_directory(directory, port)),
                str(find_program("supernode")), "--config", str(directory / "supernode.yml"),
            ],
            port, directory / "supernode.log", ready_path="/_ping",
        )  # fmt: skip
        self.host = self._server.host
        self.url = self._server.url

    def start(self) -> None:
        """Starts both; the errors are `Server`'s."""
        self._files.start()
        self._server.start()

    def restart(self) -> None:
        """Restarts the SuperNode, which forgets everything; the files stay."""
        self._server.restart()

    def stop(self) -> None:
        """Stops both."""
        self._server.stop()
        self._files.stop()

    def drop(self, url: str) -> None:
        """Has it drop the task of a URL, as it does by itself after `task_expires`; the record stays."""
        tasks = [record["ID"] for record in self.preheats() if record["URL"].partition("?")[0] == url]
        for task in tasks:
            httpx.delete(f"{self.url}/api/v1/tasks/{task}", timeout=5, trust_env=False).raise_for_status()

    def log_text(self) -> str:
        """What the SuperNode has written to its own log."""
        log = self.home / "logs" / "app.log"
        return self._server.log_text() + (log.read_text(errors="replace") if log.exists() else "")

    def preheats(self) -> list[dict[str, Any]]:
        """Its records of preheats, which outlive the blobs."""
        return list(httpx.get(f"{self.url}/preheats", timeout=5, trust_env=False).json())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: TracebackType | object) -> None:
        self.stop()


class DfdaemonV1(Server):
    """A dfdaemon 1.0.6, used as an HTTP proxy.

    Args:
        directory: empty, for its files and logs.
        supernode: `host:port` of the SuperNode.
        fall_back: whether its dfget may fetch from the origin when the SuperNode does not help.
        rules: of the URLs that its dfget fetches; it fetches all others itself.
    """

    def __init__(
        self,
        directory: Path,
        supernode: str,
        *,
        fall_back: bool = True,
        rules: Sequence[str] = ("blobs/sha256.*",),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        configuration = {
            "port": port,
            "hostIp": LOOPBACK,
            "supernodes": [supernode],
            "dfget_flags": [
                "--ip", LOOPBACK, "-f", FILTER, "--home", str(directory / "dfget"), "--alivetime", "30s",
                *([] if fall_back else ["--notbs"]),
            ],
            "proxies": [{"regx": rule} for rule in rules],
            # Whatever is not asked of it as a proxy would go to Docker Hub by default.
            "registry_mirror": {"remote": f"http://{supernode}", "direct": True},
            "localrepo": str(directory / "repo"),
            "workHome": str(directory / "work"),
            "dfpath": str(find_program("dfget-v1")),
            "ratelimit": "200M",
        }  # fmt: skip
        (directory / "dfdaemon.yml").write_text(json.dumps(configuration))
        super().__init__(
            [str(find_program("dfdaemon-v1")), "--config", str(directory / "dfdaemon.yml")],
            port,
            directory / "dfdaemon.log",
            ready_path="/args",
        )

    def get(self, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """Reads a URL through it."""
        with httpx.Client(proxy=self.url, timeout=60, trust_env=False) as client:
            return client.get(url, headers=headers)


def _nginx(directory: Path, root: Path, port: int) -> Path:
    """The configuration of a file server with Range, as small as it can be."""
    path = directory / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;\n"
        f"events {{}}\n"
        f"http {{ access_log off; sendfile on; client_body_temp_path {directory}/nginx-body;\n"
        f"  server {{ listen {LOOPBACK}:{port}; root {root}; }} }}\n"
    )
    return path


def _dfget_directory(directory: Path, port: int) -> Path:
    """What `/usr/local/bin` is for the SuperNode: a dfget that knows the port, and keeps out of $HOME."""
    tools = directory / "bin"
    tools.mkdir()
    dfget = tools / "dfget"
    options = shlex.join(
        [
            "--node",
            f"{LOOPBACK}:{port}",
            "--ip",
            LOOPBACK,
            "--home",
            str(directory / "dfget"),
            "--alivetime",
            "30s",
        ]
    )
    dfget.write_text(f'#!/bin/sh\nexec {shlex.quote(str(find_program("dfget-v1")))} "$@" {options}\n')
    dfget.chmod(0o755)
    return tools


def _in_own_mounts(tools: Path) -> list[str]:
    script = f'mount --bind {shlex.quote(str(tools))} /usr/local/bin && exec "$0" "$@"'
    return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script]
