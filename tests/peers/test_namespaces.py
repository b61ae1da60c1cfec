"""Nodes reach each other, at the rate of their links, and leave nothing behind."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.peers.namespaces import Network, Node
from tests.peers.programs import run_command
from tests.peers.server import Server

pytestmark = pytest.mark.root

BODY_BYTES = 2_000_000


def web_server(node: Node, directory: Path) -> Server:
    """A file server in a node, with one file."""
    (directory / "file").write_bytes(bytes(BODY_BYTES))
    command = ["python3", "-m", "http.server", "8000", "--bind", node.address, "--directory", str(directory)]
    return Server(command, 8000, directory / "log", place=node.place)


def test_a_node_receives_at_the_rate_of_the_links(tmp_path: Path) -> None:
    with Network(rate_bit_s=8_000_000, nodes=2) as network, web_server(network.nodes[0], tmp_path) as server:
        before = network.nodes[1].received_bytes()
        started = time.monotonic()
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", f"{server.url}/file"]
        assert run_command(network.nodes[1].command(*curl)) == str(BODY_BYTES)
        # 2 MB are 16 Mbit: 2 s, less what the full bucket lets pass at once.
        assert 1.5 < time.monotonic() - started < 4
        assert network.nodes[1].received_bytes() - before > BODY_BYTES
        assert network.nodes[0].sent_bytes() > BODY_BYTES
        assert httpx.get(f"{server.url}/", trust_env=False).status_code == 200, "the tests reach the nodes"


def test_links_are_limited_later(tmp_path: Path) -> None:
    with Network(nodes=2) as network, web_server(network.nodes[0], tmp_path) as server:
        curl = network.nodes[1].command("curl", "-s", "-o", "/dev/null", f"{server.url}/file")
        started = time.monotonic()
        run_command(curl)
        assert time.monotonic() - started < 1
        network.limit(8_000_000)
        started = time.monotonic()
        run_command(curl)
        assert 1.5 < time.monotonic() - started < 4


def test_nothing_is_left(tmp_path: Path) -> None:
    with Network(nodes=1) as network:
        name = network.nodes[0].name.split("-")[0]
        assert name in run_command(["ip", "netns"])
        assert name in run_command(["ip", "link"])
    assert name not in run_command(["ip", "netns"])
    assert name not in run_command(["ip", "link"])
