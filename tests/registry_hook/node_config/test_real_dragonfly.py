"""Dragonfly's scheduler and peers, and clients that pull through them, with their printed configuration.

What Dragonfly does with blobs, and how the service seeds them, is tested in `tests/interop/p2p`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.peers.namespaces import Network
from tests.peers.programs import find_program
from tests.registry_hook.node_config.conftest import FILE, REPOSITORY, WORDS, an_image
from tests.registry_hook.node_config.machines import Machine, machine
from tests.registry_hook.node_config.running import containerd, running, told_commands
from tests.registry_hook.node_config.site import Site
from tests.registry_hook.peer_images import Pusher, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.root]

CLUSTER = """
[seeding]
origin_url = "ORIGIN"
[[seeding.clusters]]
name = "rack-1"
engine = "dragonfly"
scheduler = "{seed}:8002"
seed_peers = [{{ grpc = "{seed}:4000", proxy = "http://{seed}:4001" }}]
"""


@pytest.fixture(scope="module")
def seed(network: Network) -> Iterator[Machine]:
    """The machine of scheduler and seed peer."""
    with machine(network.add(None)) as made:
        yield made


@pytest.fixture(scope="module")
def p2p_site(network: Network, seed: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment with a small set of Dragonfly."""
    with ExitStack() as stack:
        made = Site(
            tmp_path_factory.mktemp("site"),
            address=network.address,
            settings=CLUSTER.format(seed=seed.address),
        )
        seed.configure(made.settings, "scheduler")
        seed.configure(made.settings, "dfdaemon", "--seed-peer", f"{seed.address}:4000")
        [[scheduler, *arguments]] = told_commands(made.config("scheduler"))
        stack.enter_context(
            running(seed, [str(find_program(scheduler)), *arguments], *accepts(seed.address, 8002))
        )
        stack.enter_context(dfdaemon(seed, seed.address))
        pusher = Pusher(stack.enter_context(made).registry.url)
        pusher.push(REPOSITORY, "v1", an_image())
        wait_until(lambda: "v1-nydus" in pusher.tags(REPOSITORY), 60, "the conversion")
        yield made


@contextmanager
def dfdaemon(where: Machine, address: str) -> Iterator[None]:
    """Runs a peer by the command that its comment names, until its proxy takes connections."""
    with running(where, [str(find_program("dfdaemon")), "--console"], *accepts(address, 4001)):
        yield


def accepts(address: str, port: int) -> tuple[str, ...]:
    """A command that succeeds once something listens."""
    return ("bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}")


def test_containerd_pulls_through_its_peer(p2p_site: Site, network: Network) -> None:
    reference = f"{p2p_site.registry.host}/{REPOSITORY}:v1"
    sent = []
    for _ in range(2):
        with machine(network.add(None)) as node:
            node.configure(p2p_site.settings, "dfdaemon", "--address", node.address)
            node.configure(p2p_site.settings, "containerd", "--peer")
            with dfdaemon(node, "127.0.0.1"), containerd(node, "version = 2\n"):
                before = p2p_site.gateway_bytes()
                node.run("ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", reference)
                sent.append(p2p_site.gateway_bytes() - before)
                assert node.image_file(reference, FILE) == WORDS
    # The seed has the blobs from the gateway's own reads, so peers ask the origin for one byte of each only.
    assert max(sent) <= len(an_image().blobs), "through peers"
