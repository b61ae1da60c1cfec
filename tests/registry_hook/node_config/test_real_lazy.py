"""nydusd, alone and by nydus-snapshotter, set up with what `dragonhook config` prints for them."""

from __future__ import annotations

import os

import pytest

from tests.peers.programs import find_program
from tests.registry_hook.node_config import cri
from tests.registry_hook.node_config.conftest import FILE, REPOSITORY, WORDS
from tests.registry_hook.node_config.machines import DRAGONHOOK, Machine
from tests.registry_hook.node_config.running import containerd, running, told_commands
from tests.registry_hook.node_config.site import Site

pytestmark = [pytest.mark.interop, pytest.mark.root]


def test_nydusd_mounts(p2p_site: Site, node: Machine) -> None:
    node.configure(p2p_site.settings, "nydusd", REPOSITORY)
    mount, make, run = told_commands(p2p_site.config("nydusd", REPOSITORY))
    assert mount[0] == "dragonhook"
    node.run(*DRAGONHOOK, *mount[1:])
    node.run(*make)
    with running(node, [str(find_program(run[0])), *run[1:]], "mountpoint", "/mnt/app"):
        assert node.path(f"/mnt/app{FILE}").read_bytes() == WORDS


def test_the_snapshotter_mounts(p2p_site: Site, node: Machine) -> None:
    reference = f"{p2p_site.registry.host}/{REPOSITORY}:v1-nydus"
    parts = [
        p2p_site.config(program, "--file", "containerd/config.toml")
        for program in ("containerd", "nydus-snapshotter")
    ]
    hosts = f"{p2p_site.registry.host}/hosts.toml"
    node.write(f"/etc/containerd/certs.d/{hosts}", p2p_site.config("containerd", "--file", hosts))
    for path in ("/etc/nydus/config.toml", "/etc/nydus/nydusd-config.fusedev.json"):
        node.write(path, p2p_site.config("nydus-snapshotter", "--file", path))
    [[_, *arguments]] = told_commands(p2p_site.config("nydus-snapshotter", "--file", "nydus/config.toml"))
    command = [str(find_program("containerd-nydus-grpc")), *arguments]
    variables = {"PATH": f"{nydusd_for_this_machine(node)}:{os.environ['PATH']}"}
    socket = "/run/containerd-nydus/containerd-nydus-grpc.sock"
    with (
        running(node, command, "test", "-S", socket, environ=variables),
        containerd(node, "version = 2\n" + "".join(parts)),
    ):
        cri.pull(node.path("/run/containerd/containerd.sock"), reference)
        mount_as_a_container(node, "/mnt/container")
        assert "rafs" in node.run("mount"), "it is not unpacked"
        assert node.path(f"/mnt/container{FILE}").read_bytes() == WORDS


def mount_as_a_container(node: Machine, directory: str) -> None:
    """Makes and mounts the root file system of a container of the only image, as a kubelet would have it."""
    snapshots = ("ctr", "--namespace", "k8s.io", "snapshots", "--snapshotter", "nydus")
    rows = [line.split() for line in node.run(*snapshots, "ls").splitlines()[1:]]
    parents = {row[1] for row in rows}
    [image] = [row[0] for row in rows if row[0] not in parents]
    node.run("mkdir", directory)
    command = node.run(*snapshots, "prepare", "--target", directory, "container", image)
    node.run("sh", "-c", command)


def nydusd_for_this_machine(node: Machine) -> str:
    """A directory with a nydusd that does not raise its limit of open files, which a container may not."""
    node.write("/mnt/bin/nydusd", f'#!/bin/sh\nexec {find_program("nydusd")} "$@" --rlimit-nofile 0\n')
    node.run("chmod", "+x", "/mnt/bin/nydusd")
    return "/mnt/bin"
