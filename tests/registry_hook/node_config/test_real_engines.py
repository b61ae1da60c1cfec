"""containerd and dockerd that are set up with what `dragonhook config` prints for them.

The registry speaks plain HTTP at an address that is not loopback: without configuration none pulls there.
"""

from __future__ import annotations

import grpc
import pytest

from tests.peers.programs import ProgramError, find_program
from tests.registry_hook.node_config import cri
from tests.registry_hook.node_config.conftest import FILE, REPOSITORY, WORDS
from tests.registry_hook.node_config.machines import Machine
from tests.registry_hook.node_config.running import containerd, running
from tests.registry_hook.node_config.site import Site

pytestmark = [pytest.mark.peers, pytest.mark.root]


def test_containerd_pulls(site: Site, node: Machine) -> None:
    reference = f"{site.registry.host}/{REPOSITORY}:v1"
    # A new file begins so; the printed part says that it joins what is there.
    main = "version = 2\n" + site.config("containerd", "--file", "config.toml")
    name = f"{site.registry.host}/hosts.toml"
    with containerd(node, main):
        with pytest.raises(ProgramError, match="HTTP"):
            node.run("ctr", "images", "pull", reference)
        with pytest.raises(grpc.RpcError, match="HTTP"):
            cri.pull(node.path("/run/containerd/containerd.sock"), reference)
        node.write(f"/etc/containerd/certs.d/{name}", site.config("containerd", "--file", name))
        node.run("ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", reference)
        assert node.image_file(reference, FILE) == WORDS
        cri.pull(node.path("/run/containerd/containerd.sock"), reference)
        assert reference in node.run("ctr", "--namespace", "k8s.io", "images", "ls", "--quiet")


@pytest.mark.parametrize("mirror", [False, True], ids=["by-name", "mirror-of-docker-hub"])
def test_docker_pulls(mirror: bool, site: Site, node: Machine) -> None:
    reference = f"{REPOSITORY}:v1" if mirror else f"{site.registry.host}/{REPOSITORY}:v1"
    node.configure(site.settings, "docker", *(["--hub-mirror"] if mirror else []))
    docker = str(find_program("docker"))
    with running(node, [str(find_program("dockerd"))], docker, "version"):
        node.run(docker, "pull", reference)
        node.run("sh", "-c", f"{docker} save {reference} > /mnt/image.tar")
        assert WORDS in node.path("/mnt/image.tar").read_bytes()
