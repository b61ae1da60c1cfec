"""Measures one row: sets up the machines, seeds, lets all nodes start at the same moment, and counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.p2p import node as node_program
from tests.benchmarks.p2p.library import REPOSITORY, Library, blobs_of, transferred_bytes
from tests.benchmarks.p2p.origin import PEER_PROXY, USER_AGENT, OriginMachine
from tests.benchmarks.p2p.results import Mode, Row, Traffic
from tests.benchmarks.p2p.swarm import Swarm, Tuning
from tests.peers.namespaces import Network, Node
from tests.peers.programs import ProgramError, find_program

_PULL_TIMEOUT_S: Final = 1800.0
# Longer than nydusd's 5 s, which a piece of 4 MiB needs when it comes with others over a slow link.
_NYDUSD_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Wanted:
    """One row to measure, see `Row`."""

    mode: Mode
    nodes: int
    run: int
    rate_bit_s: int
    tuning: Tuning


def measure(wanted: Wanted, library: Library, directory: Path) -> Row:
    """Measures one row.

    Args:
        wanted: what.
        library: what is pulled.
        directory: an empty directory, best in memory: the nodes' disks are not what is measured.

    Raises:
        ProgramError: a node did not get the image, or got something else.
    """
    image = library.converted if wanted.mode is Mode.LAZY else library.source
    with ExitStack() as stack:
        network = stack.enter_context(Network(nodes=wanted.nodes + 2))
        origin_node, hub, *nodes = network.nodes
        swarm, origin = _start(wanted, library, directory, origin_node, hub, nodes, stack)
        start = origin.traffic()
        if swarm is not None:
            swarm.seed(blobs_of(image), origin.origin_url)
        seeded = origin.traffic()
        network.limit(wanted.rate_bit_s)
        orders = [
            _orders(wanted.mode, library, origin, directory / f"node{number}")
            for number, _ in enumerate(nodes)
        ]
        received = [node.received_bytes() for node in nodes]
        started = datetime.now(UTC)
        processor = _Processor()
        seconds = _pull(nodes, orders)
        busy = processor.busy()
        return Row(
            mode=wanted.mode,
            nodes=wanted.nodes,
            run=wanted.run,
            rate_bit_s=wanted.rate_bit_s,
            image=library.name,
            image_bytes=transferred_bytes(image),
            seconds=tuple(round(time_s, 3) for time_s in seconds),
            received_bytes=tuple(
                node.received_bytes() - before for node, before in zip(nodes, received, strict=True)
            ),
            seeding=_difference(seeded, start),
            pulling=_difference(origin.traffic(), seeded),
            processor=round(busy, 3),
            started=started.isoformat(timespec="seconds"),
            settings=asdict(wanted.tuning) if swarm else {},
        )


def _start(
    wanted: Wanted,
    library: Library,
    directory: Path,
    origin_node: Node,
    hub: Node,
    nodes: Sequence[Node],
    stack: ExitStack,
) -> tuple[Swarm | None, OriginMachine]:
    """Starts everything that serves; native pulls need no peers."""
    swarm = None
    if wanted.mode is not Mode.NATIVE:
        upstream = OriginMachine.upstream(origin_node, wanted.mode)
        peers = () if wanted.mode is Mode.BYTES else nodes
        swarm = stack.enter_context(
            Swarm(hub, peers, upstream, wanted.rate_bit_s, wanted.tuning, directory / "swarm")
        )
    cluster = swarm.cluster if swarm else None
    origin = OriginMachine(origin_node, library, wanted.mode, directory / "origin", cluster)
    return swarm, stack.enter_context(origin)


def _orders(mode: Mode, library: Library, origin: OriginMachine, work: Path) -> dict[str, Any]:
    """What a node is told, see `node.py`."""
    image = library.converted if mode is Mode.LAZY else library.source
    work.mkdir()
    orders: dict[str, Any] = {
        "registry": f"http://{PEER_PROXY}" if mode is Mode.MIRROR else origin.registry_url,
        "repository": REPOSITORY,
        "manifest": str(image.digest),
        "headers": {"User-Agent": USER_AGENT},
    }
    blobs = f"http://{PEER_PROXY}/v2/_" if mode is Mode.LAZY else f"{orders['registry']}/v2/{REPOSITORY}"
    orders["blobs"] = f"{blobs}/blobs/"
    if mode is Mode.LAZY:
        orders |= {
            "work": str(work),
            "nydusd": _nydusd(work),
            "nydusd_config": _nydusd_config(work),
            "program": library.program,
            "output": library.output,
        }
    return orders


def _nydusd(work: Path) -> list[str]:
    return [
        str(find_program("nydusd")), "fuse", "--mountpoint", str(work / "mnt"),
        "--bootstrap", str(work / "image.boot"), "--config", str(work / "nydusd.json"),
        "--apisock", "api.sock", "--rlimit-nofile", "0", "--log-level", "warn",
    ]  # fmt: skip


def _nydusd_config(work: Path) -> dict[str, Any]:
    registry = {
        "scheme": "http", "host": PEER_PROXY, "repo": "_",
        "timeout": _NYDUSD_TIMEOUT_S, "connect_timeout": 5, "retry_limit": 2,
    }  # fmt: skip
    return {
        "version": 2,
        "id": "bench",
        "backend": {"type": "registry", "registry": registry},
        "cache": {
            "type": "blobcache", "validate": False, "filecache": {"work_dir": str(work / "cache")},
            "prefetch": {"enable": False},
        },
        "rafs": {"mode": "direct", "enable_xattr": True, "validate": False, "prefetch": {"enable": False}},
    }  # fmt: skip


def _pull(nodes: Sequence[Node], orders: Sequence[dict[str, Any]]) -> list[float]:
    """Lets all nodes start at the same moment, and waits for the last.

    Returns:
        The seconds of each node.
    """
    command = [sys.executable, "-I", "-S", str(node_program.__file__)]
    running: list[subprocess.Popen[str]] = []
    try:
        for node, order in zip(nodes, orders, strict=True):
            process = subprocess.Popen(
                node.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            running.append(process)
            _tell(process, json.dumps(order))
        for process in running:
            if _hear(process) != "ready":
                raise ProgramError("the program of a node did not start")
        for process in running:
            _tell(process, "go")
        answers = [_finish(process) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    failed = [answer["error"] for answer in answers if "error" in answer]
    if failed:
        raise ProgramError(f"{len(failed)} of {len(nodes)} nodes failed, the first with: {failed[0]}")
    return [float(answer["seconds"]) for answer in answers]


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=_PULL_TIMEOUT_S)
    answer: dict[str, Any] = json.loads(output or '{"error": "no answer"}')
    return answer


class _Processor:
    """How busy the machine's processors are, from now on (`/proc/stat`, first line)."""

    def __init__(self) -> None:
        self._before = self._times()

    @staticmethod
    def _times() -> list[int]:
        return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]

    def busy(self) -> float:
        """The share that was not idle since the object was made, 0 to 1."""
        passed = [now - before for now, before in zip(self._times(), self._before, strict=True)]
        _, _, _, idle, waiting, *_ = passed
        return 1 - (idle + waiting) / max(1, sum(passed))


def _difference(later: Traffic, earlier: Traffic) -> Traffic:
    return Traffic(
        later.body_bytes - earlier.body_bytes,
        later.requests - earlier.requests,
        later.link_bytes - earlier.link_bytes,
    )
