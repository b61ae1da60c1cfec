"""containerd and dockerd that are set up with what `dragonhook config` prints for them.

The registry speaks plain HTTP at an address that is not loopback: without configuration none pulls there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers.programs import ProgramError, find_program
from tests.registry_hook.node_config.conftest import FILE, REPOSITORY, WORDS
from tests.registry_hook.node_config.machines import Machine
from tests.registry_hook.node_config.running import running
from tests.registry_hook.node_config.site import Site

pytestmark = [pytest.mark.peers, pytest.mark.root]


@contextmanager
def containerd(node: Machine) -> Iterator[None]:
    command = [str(find_program("containerd")), "--log-level", "info"]
    with running(node, command, "ctr", "version"):
        yield


def test_containerd_pulls(site: Site, node: Machine) -> None:
    reference = f"{site.registry.host}/{REPOSITORY}:v1"
    # A new file begins so; the printed parts say that they join what is there.
    node.path("/etc/containerd/config.toml").parent.mkdir(exist_ok=True)
    main = site.config("containerd", "--file", "config.toml")
    node.path("/etc/containerd/config.toml").write_text("version = 2\n" + main)
    hosts = f"{site.registry.host}/hosts.toml"
    (target := node.path(f"/etc/containerd/certs.d/{hosts}")).parent.mkdir(parents=True)
    target.write_text(site.config("containerd", "--file", hosts))
    with containerd(node):
        with pytest.raises(ProgramError, match="HTTP"):
            node.run("ctr", "images", "pull", reference)
        node.run("ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", reference)
        node.run("mkdir", "/mnt/image")
        node.run("ctr", "images", "mount", reference, "/mnt/image")
        assert node.path(f"/mnt/image{FILE}").read_bytes() == WORDS
        node.run("ctr", "images", "unmount", "/mnt/image")
