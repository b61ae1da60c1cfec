"""The private origin as it is in production: the listener of the gateway's process, counted from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.peers.fault_proxy import FaultProxy
from tests.peers.server import free_port
from tests.registry_hook.gateway.running import SETTINGS, directory_source, running, stored


@contextmanager
def real_origin(directory: Path, *contents: bytes, secret: bytes | None = None) -> Iterator[FaultProxy]:
    """Serves some blobs; yields the proxy before it, whose URL peers are given.

    Args:
        directory: for the store; it is made.
        contents: of the blobs.
        secret: URLs have to be signed with it, if it is given.
    """
    root, _ = stored(directory, *contents)
    settings = replace(SETTINGS, origin_port=free_port(), origin_secret=secret)
    with (
        running([directory_source(root)], settings),
        FaultProxy(f"http://127.0.0.1:{settings.origin_port}") as proxy,
    ):
        yield proxy
