"""Registries that are set up with what `dragonhook config registry` prints."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.p2p_seed.store.backends import new_bucket
from tests.peers.registries import RegistryKind
from tests.peers.s3 import S3Server
from tests.registry_hook.gateway.signing import CloudFrontKeys
from tests.registry_hook.node_config.site import Site
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.world import small_image

_STORAGE = """\
s3:
    regionendpoint: "{server.url}"
    region: us-east-1
    bucket: {bucket}
    accesskey: {server.access_key}
    secretkey: {server.secret_key}
    secure: false
    forcepathstyle: true
"""
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
        assert site.gateway_bytes() == len(image.blobs[blob])
        wait_until(lambda: any(job["kind"] == "publication" for job in site.jobs()), 20, "the notification")


@pytest.mark.parametrize(
    ("kind", "way"),
    [(RegistryKind.V3, "sigv4"), (RegistryKind.V2, "cloudfront")],
)
def test_it_signs_redirects(kind: RegistryKind, way: str, s3_server: S3Server, tmp_path: Path) -> None:
    bucket = new_bucket(s3_server)
    access = f'access_key = "{s3_server.access_key}"\nsecret_key = "{s3_server.secret_key}"'
    keys = CloudFrontKeys(tmp_path)
    signed = {
        "sigv4": f"[gateway.sigv4]\n{access}",
        "cloudfront": f'[gateway.cloudfront]\nkey_pair_id = "K1"\npublic_key_file = "{keys.public_key_file}"',
    }
    site = Site(
        tmp_path / "site", kind, process="gateway", options=("--redirect-key", str(keys.private_key_file)),
        gateway=f'{signed[way]}\n[gateway.origin_s3]\nendpoint_url = "{s3_server.url}"\n{access}',
        storage=_STORAGE.format(bucket=bucket, server=s3_server), origin=f"s3://{bucket}",
    )  # fmt: skip
    image = small_image("x" * 100_000)
    with site:
        Pusher(site.registry.url).push("team/app", "v1", image)
        blob = image.manifest.layers[0].digest
        redirect = httpx.get(f"{site.registry.url}/v2/team/app/blobs/{blob}", trust_env=False)
        location = redirect.headers["Location"]
        assert location.startswith(f"{site.gateway_url}/")
        assert httpx.get(location, trust_env=False).content == image.blobs[blob]
        assert httpx.get(location.partition("?")[0], trust_env=False).status_code == 403
