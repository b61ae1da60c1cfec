"""Registries that are set up with what `dragonhook config registry` prints."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.peers.registries import RegistryKind
from tests.registry_hook.node_config.site import Site
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.world import small_image

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("kind", list(RegistryKind))
def test_it_notifies_and_redirects(kind: RegistryKind, tmp_path: Path) -> None:
    image = small_image("x" * 100_000)
    with Site(tmp_path, kind) as site:
        Pusher(site.registry.url).push("team/app", "v1", image)
        blob = image.manifest.layers[0].digest
        redirect = httpx.get(f"{site.registry.url}/v2/team/app/blobs/{blob}", trust_env=False)
        assert redirect.status_code == 307
        assert redirect.headers["Location"].startswith(f"{site.gateway_url}/")
        assert httpx.get(redirect.headers["Location"], trust_env=False).content == image.blobs[blob]
        wait_until(lambda: any(job["kind"] == "publication" for job in site.jobs()), 20, "the notification")
