"""One deployment and one network for all programs that are set up for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.images.layout import Image, build_image
from tests.images.tar import DIRECTORY, Entry, encode_tar
from tests.peers.namespaces import Network
from tests.peers.programs import find_program
from tests.registry_hook.node_config.machines import Machine, machine
from tests.registry_hook.node_config.running import accepts, dfdaemon, running, told_commands
from tests.registry_hook.node_config.site import Site
from tests.registry_hook.peer_images import Pusher, wait_until

REPOSITORY = "team/app"
FILE = "/usr/share/words"
WORDS = b"".join(b"word %d\n" % number for number in range(100_000))
CLUSTER = """
[seeding]
origin_url = "ORIGIN"
origin_secret = "a secret of sixteen characters or more"
[[seeding.clusters]]
name = "rack-1"
engine = "dragonfly"
scheduler = "{seed}:8002"
seed_peers = [{{ grpc = "{seed}:4000", proxy = "http://{seed}:4001" }}]
"""


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="session")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry of Debian and the service, at the bridge, with an image and its conversion."""
    with Site(tmp_path_factory.mktemp("site"), address=network.address) as made:
        push_an_image(made)
        yield made


@pytest.fixture(scope="session")
def seed(network: Network) -> Iterator[Machine]:
    """The machine of scheduler and seed peer."""
    with machine(network.add(None)) as made:
        yield made


@pytest.fixture(scope="session")
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
        push_an_image(stack.enter_context(made))
        yield made


@pytest.fixture
def node(network: Network) -> Iterator[Machine]:
    """A machine that nothing is installed on."""
    with machine(network.add(None)) as made:
        yield made


def an_image() -> Image:
    """An image with a file of several chunks' worth of words."""
    entries = [Entry(name, kind=DIRECTORY) for name in (b"usr/", b"usr/share/")]
    return build_image([encode_tar([*entries, Entry(FILE[1:].encode(), content=WORDS)])])


def push_an_image(site: Site) -> None:
    """Pushes the image, and waits for its conversion."""
    pusher = Pusher(site.registry.url)
    pusher.push(REPOSITORY, "v1", an_image())
    wait_until(lambda: "v1-nydus" in pusher.tags(REPOSITORY), 60, "the conversion")
