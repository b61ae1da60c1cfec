"""Nodes with links of a limited rate, on one machine: a bridge, and a network namespace for each node.

Every node hangs on the bridge by a pair of virtual interfaces. A token bucket (`tc … tbf`) on each end limits
one direction: the end on the bridge what the node receives, the end inside what it sends. The bridge has an
address too, so that tests on the machine itself reach every node; that way only the node's link is a limit.

Needs root. Nothing outside is touched: no forwarding, no route, no rule of a firewall.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from tests.peers.programs import ProgramError, run_command
from tests.peers.server import Place

# Networks that nobody else is likely to use: 10.64.0.0/10 has 1024 of this size, each for 4094 nodes.
_NETWORKS: Final = tuple(ipaddress.IPv4Network("10.64.0.0/10").subnets(new_prefix=20))
# Room for 25 ms of a link of 80 Mbit/s; smaller ones cannot keep up with segments joined by the kernel.
_BURST: Final = "256k"
_LATENCY: Final = "200ms"


@dataclass(frozen=True, slots=True)
class Node:
    """A network namespace with one interface, `eth0`.

    Args:
        name: of the namespace.
        address: its IPv4 address.
        outer: name of the other end of its interface, on the bridge.
    """

    name: str
    address: str
    outer: str

    @property
    def place(self) -> Place:
        """Where to run servers in it."""
        return Place(self.address, ("ip", "netns", "exec", self.name))

    def command(self, *words: str) -> list[str]:
        """A command that runs in it."""
        return [*self.place.prefix, *words]

    def received_bytes(self) -> int:
        """What its link has brought it, headers included."""
        return _counters(self.outer)["tx"]

    def sent_bytes(self) -> int:
        """What it has sent over its link, headers included."""
        return _counters(self.outer)["rx"]


class Network:
    """A bridge with nodes; a context manager that removes everything it made.

    Args:
        rate_bit_s: rate of each link in both directions, in bits a second; None for links without limit.
        nodes: how many nodes to begin with.

    Raises:
        ProgramError: `ip` or `tc` refused (without root they do).
    """

    def __init__(self, rate_bit_s: int | None = None, nodes: int = 0) -> None:
        self._rate_bit_s = rate_bit_s
        self._begin_with = nodes
        self._id = f"dh{secrets.token_hex(3)}"
        self._network = _unused_network()
        self.address = str(self._network[1])
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        length = self._network.prefixlen
        try:
            _ip(f"link add {self._id} type bridge", f"addr add {self.address}/{length} dev {self._id}")
            _ip(f"link set {self._id} up")
            for _ in range(self._begin_with):
                self.add(self._rate_bit_s)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, rate_bit_s: int | None) -> Node:
        """Makes one more node.

        Args:
            rate_bit_s: rate of its link in both directions; None for no limit.
        """
        number = len(self.nodes)
        node = Node(f"{self._id}-{number}", str(self._network[2 + number]), f"{self._id}-{number}")
        self.nodes.append(node)
        _ip(
            f"netns add {node.name}",
            f"link add {node.outer} type veth peer name eth0 netns {node.name}",
            f"link set {node.outer} master {self._id} up",
        )
        _ip(
            f"addr add {node.address}/{self._network.prefixlen} dev eth0",
            "link set lo up",
            "link set eth0 up",
            namespace=node.name,
        )
        if rate_bit_s is not None:
            _limit(node, rate_bit_s)
        return node

    def limit(self, rate_bit_s: int) -> None:
        """Limits the links of all nodes from now on, so that what comes before a measurement goes fast."""
        for node in self.nodes:
            _limit(node, rate_bit_s)

    def close(self) -> None:
        """Removes nodes and bridge. Programs in the nodes have to be stopped before: they would live on."""
        for node in self.nodes:
            _quietly("ip", "netns", "delete", node.name)
            # With the namespace its interface goes, but only when the last process in it has ended.
            _quietly("ip", "link", "delete", node.outer)
        self.nodes.clear()
        _quietly("ip", "link", "delete", self._id)


def _limit(node: Node, rate_bit_s: int) -> None:
    bucket = ["root", "tbf", "rate", str(rate_bit_s), "burst", _BURST, "latency", _LATENCY]
    run_command(["tc", "qdisc", "replace", "dev", node.outer, *bucket])
    run_command(node.command("tc", "qdisc", "replace", "dev", "eth0", *bucket))


def _ip(*commands: str, namespace: str | None = None) -> None:
    where = ["-netns", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True
    )
    if done.returncode:
        raise ProgramError(f"ip: {'; '.join(commands)}: {done.stderr.strip()}")


def _quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


def _json(command: Sequence[str]) -> Any:
    return json.loads(run_command(command))


def _counters(interface: str) -> dict[str, int]:
    [link] = _json(["ip", "-j", "-s", "link", "show", "dev", interface])
    return {direction: int(link["stats64"][direction]["bytes"]) for direction in ("rx", "tx")}


def _unused_network() -> ipaddress.IPv4Network:
    """A network that no interface of the machine is in."""
    taken = [
        ipaddress.ip_interface(f"{address['local']}/{address['prefixlen']}").network
        for link in _json(["ip", "-j", "-4", "addr", "show"])
        for address in link["addr_info"]
    ]
    while True:
        network = secrets.choice(_NETWORKS)
        if not any(network.overlaps(other) for other in taken):
            return network
