"""One deployment and one network for all programs that are set up for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images.layout import Image, build_image
from tests.images.tar import DIRECTORY, Entry, encode_tar
from tests.peers.namespaces import Network
from tests.registry_hook.node_config.machines import Machine, machine
from tests.registry_hook.node_config.site import Site
from tests.registry_hook.peer_images import Pusher, wait_until

REPOSITORY = "team/app"
FILE = "/usr/share/words"
WORDS = b"".join(b"word %d\n" % number for number in range(100_000))


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="session")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry of Debian and the service, at the bridge, with an image and its conversion."""
    with Site(tmp_path_factory.mktemp("site"), address=network.address) as running:
        pusher = Pusher(running.registry.url)
        pusher.push(REPOSITORY, "v1", an_image())
        wait_until(lambda: "v1-nydus" in pusher.tags(REPOSITORY), 60, "the conversion")
        yield running


@pytest.fixture
def node(network: Network) -> Iterator[Machine]:
    """A machine that nothing is installed on."""
    with machine(network.add(None)) as made:
        yield made


def an_image() -> Image:
    """An image with a file of several chunks' worth of words."""
    entries = [Entry(name, kind=DIRECTORY) for name in (b"usr/", b"usr/share/")]
    return build_image([encode_tar([*entries, Entry(FILE[1:].encode(), content=WORDS)])])
