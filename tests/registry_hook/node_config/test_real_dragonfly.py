"""Dragonfly's scheduler and peers, and clients that pull through them, with their printed configuration.

What Dragonfly does with blobs, and how the service seeds them, is tested in `tests/interop/p2p`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers.namespaces import Network
from tests.peers.programs import find_program
from tests.registry_hook.node_config.conftest import FILE, REPOSITORY, WORDS
from tests.registry_hook.node_config.machines import DRAGONHOOK, Machine, machine
from tests.registry_hook.node_config.running import containerd, dfdaemon, running, told_commands
from tests.registry_hook.node_config.site import Site

pytestmark = [pytest.mark.interop, pytest.mark.root]


@pytest.fixture
def node(p2p_site: Site, network: Network) -> Iterator[Machine]:
    """A machine with a peer of its own."""
    with machine(network.add(None)) as made:
        made.configure(p2p_site.settings, "dfdaemon", "--address", made.address)
        with dfdaemon(made, "127.0.0.1"):
            yield made


@contextmanager
def almost_nothing_from_the_gateway(site: Site) -> Iterator[None]:
    """Asserts that blobs come from peers.

    The seed has them, since the gateway reads from it; a peer asks the origin for one byte of each blob.
    """
    before = site.gateway_bytes()
    yield
    assert site.gateway_bytes() - before < 100


def test_containerd_pulls_through_its_peer(p2p_site: Site, node: Machine) -> None:
    reference = f"{p2p_site.registry.host}/{REPOSITORY}:v1"
    node.configure(p2p_site.settings, "containerd", "--peer")
    with containerd(node, "version = 2\n"), almost_nothing_from_the_gateway(p2p_site):
        node.run("ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", reference)
        assert node.image_file(reference, FILE) == WORDS


def test_nydusd_and_dockerd_read_through_their_peer(p2p_site: Site, node: Machine) -> None:
    node.configure(p2p_site.settings, "nydusd", REPOSITORY, "--peer")
    mount, make, run = told_commands(p2p_site.config("nydusd", REPOSITORY, "--peer"))
    node.run(*DRAGONHOOK, *mount[1:])
    node.run(*make)
    with (
        almost_nothing_from_the_gateway(p2p_site),
        running(node, [str(find_program(run[0])), *run[1:]], "mountpoint", "/mnt/app"),
    ):
        assert node.path(f"/mnt/app{FILE}").read_bytes() == WORDS

    reference = f"{p2p_site.registry.host}/{REPOSITORY}:v1"
    node.configure(p2p_site.settings, "docker", "--peer")
    unit = node.path("/etc/systemd/system/docker.service.d/dragonhook.conf").read_text()
    variables = dict(re.findall(r'^Environment="(\w+)=(.*)"$', unit, re.MULTILINE))
    docker = str(find_program("docker"))
    with (
        running(node, [str(find_program("dockerd"))], docker, "version", environ=variables),
        almost_nothing_from_the_gateway(p2p_site),
    ):
        node.run(docker, "pull", reference)
