"""Real registries on S3 that sign their redirects, real clients that follow, and what is refused."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from registry_hook.gateway import GatewaySettings
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.gateway.server import make_sources
from registry_hook.gateway.sigv4 import SigV4Key
from tests.images.layout import build_image
from tests.p2p_seed.store.backends import access_to, new_bucket
from tests.peers.registries import CloudFront, Registry, RegistryKind, RegistryOptions, S3Storage
from tests.peers.s3 import S3Server
from tests.peers.server import free_port
from tests.peers.tools import skopeo_copy
from tests.registry_hook.gateway.process import GatewayProcess
from tests.registry_hook.gateway.running import Reply, ask, blob_path, running
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, CloudFrontKeys

pytestmark = pytest.mark.peers

NOISE = random.Random(6)
IMAGE = build_image([NOISE.randbytes(512 * n) for n in (1, 3_000)], "plain")
LAYER, OTHER = IMAGE.manifest.layers[1].digest, IMAGE.manifest.layers[0].digest
PREFIX = "/some/prefix"
TOKEN = "a-token-that-clients-send-along"


@dataclass
class Site:
    """A registry on S3 with one image, and the gateway that its redirects lead to."""

    registry: Registry
    gateway: GatewayProcess
    settings: GatewaySettings
    reference: str
    directory: Path
    s3_log: Path
    secrets: tuple[str, ...]

    def redirect(self, digest: Digest = LAYER, method: str = "GET") -> str:
        """Where the registry sends a client."""
        url = f"{self.registry.url}/v2/test/signed/blobs/{digest}"
        answer = httpx.request(method, url, trust_env=False)
        assert answer.status_code == 307
        location = answer.headers["Location"]
        assert location.startswith(self.gateway.url)
        return str(location)

    def ask(self, url: str, method: str = "GET", gateway: str = "", **headers: str) -> Reply:
        """Follows a redirect, to another gateway than it leads to if one is given."""
        parts = urlsplit(url)
        headers |= {"Host": parts.netloc, "Authorization": f"Bearer {TOKEN}"}
        return ask(gateway or self.gateway.url, f"{parts.path}?{parts.query}", method, **headers)

    def requests(self) -> list[dict[str, Any]]:
        return self.gateway.requests()


WAYS = [
    pytest.param((RegistryKind.V3, "redirectendpoint"), id="3.1-redirectendpoint"),
    pytest.param((RegistryKind.V2, "cloudfront"), id="2.8-cloudfront"),
    pytest.param((RegistryKind.V3, "cloudfront"), id="3.1-cloudfront"),
]


@pytest.fixture(scope="module", params=WAYS)
def site(
    request: pytest.FixtureRequest, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    kind, way = request.param
    directory = tmp_path_factory.mktemp("site")
    keys = CloudFrontKeys(directory)
    bucket = new_bucket(s3_server)
    settings = GatewaySettings(
        store=f"s3://{new_bucket(s3_server)}",
        store_s3=access_to(s3_server),
        registry_storage=f"s3://{bucket}{PREFIX}",
        registry_s3=access_to(s3_server),
        cloudfront=CloudFrontKey(KEY_PAIR_ID, keys.public_key_file) if way == "cloudfront" else None,
        sigv4=SigV4Key(s3_server.access_key, s3_server.secret_key, s3_server.region)
        if way == "redirectendpoint"
        else None,
    )
    with ExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(directory, settings))
        storage = S3Storage(
            s3_server.url, bucket, s3_server.access_key, s3_server.secret_key, PREFIX, s3_server.region,
            redirect_endpoint=gateway.url if way == "redirectendpoint" else None,
        )  # fmt: skip
        signing = CloudFront(f"{gateway.url}/p2p", keys.private_key_file, KEY_PAIR_ID)
        options = RegistryOptions(s3=storage, cloudfront=signing if way == "cloudfront" else None)
        registry = stack.enter_context(Registry(kind, directory / "registry", options))
        IMAGE.write_layout(directory / "layout")
        reference = f"docker://{registry.host}/test/signed:1"
        skopeo_copy(f"oci:{directory / 'layout'}:test", reference)
        private_key = "".join(keys.private_key_file.read_text().splitlines()[1:2])
        secrets = (s3_server.secret_key, private_key, TOKEN)
        yield Site(registry, gateway, settings, reference, directory, s3_server.log, secrets)


def test_skopeo_pulls_and_pushes_again(site: Site, tmp_path: Path) -> None:
    skopeo_copy(site.reference, f"oci:{tmp_path / 'pulled'}:test")
    for digest, content in IMAGE.blobs.items():
        assert (tmp_path / "pulled/blobs/sha256" / digest.hex).read_bytes() == content
    uploads = site.registry.log_text().count("blobs/uploads/")
    # A push asks by HEAD whether the layers are there, through the redirect, too.
    skopeo_copy(f"oci:{site.directory / 'layout'}:test", site.reference.replace(":1", ":2"))
    assert site.registry.log_text().count("blobs/uploads/") == uploads
    seen = {(entry["method"], entry["digest"], entry["status"]) for entry in site.requests()}
    assert {("GET", str(digest), 200) for digest in IMAGE.blobs} <= seen
    assert ("HEAD", str(LAYER), 200) in seen


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_redirect_is_good_for_parts_and_again(site: Site, method: str) -> None:
    url = site.redirect(method=method)
    for start in (0, 70_000, 1_000_000):
        reply = site.ask(url, method, Range=f"bytes={start}-{start + 99}")
        if method == "HEAD":
            assert (reply.status, reply.headers["Content-Length"]) == (200, str(len(IMAGE.blobs[LAYER])))
        else:
            assert (reply.status, reply.body) == (206, IMAGE.blobs[LAYER][start : start + 100])


def altered(site: Site) -> dict[str, str]:
    """What others may make of a redirect, by what is wrong with it."""
    good = site.redirect()
    bare = good.partition("?")[0]
    query = good.partition("?")[2]
    place = good.index("Signature=") + 15
    prefix = bare.removeprefix(site.gateway.url).removesuffix(blob_path(LAYER))
    expires = re.search(r"Expires=(\d+)", good)
    assert expires is not None
    return {
        "unsigned": bare,
        "altered": good[:place] + ("1" if good[place] != "1" else "2") + good[place + 1 :],
        "for another blob": f"{site.gateway.url}{blob_path(OTHER, f'{prefix}/')}?{query}",
        "for another path to it": good.replace(PREFIX, "/other/prefix"),
        "for longer": good.replace(expires[0], f"{expires[0]}0"),
        "a signature of another's redirect": f"{site.redirect(OTHER).partition('?')[0]}?{query}",
    }


CASES = (
    "unsigned", "altered", "for another blob", "for another path to it", "for longer",
    "a signature of another's redirect",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_others_make_of_a_redirect_is_refused(site: Site, case: str, method: str) -> None:
    assert_refused(site.ask(altered(site)[case], method, Range="bytes=0-99"))


def assert_refused(reply: Reply) -> None:
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (403, b"", "0")
    assert "ETag" not in reply.headers


def test_a_redirect_expires(site: Site) -> None:
    """At another gateway with the same settings, where 20 minutes have passed."""
    url = site.redirect()
    now_s = time.time()
    settings = replace(site.settings, port=0)
    with (
        mock.patch("registry_hook.gateway.handler.time.time", side_effect=lambda: now_s),
        running(make_sources(settings), settings) as gateway,
    ):
        assert site.ask(url, gateway=gateway).status == 200
        now_s += 1100
        assert site.ask(url, gateway=gateway).status == 200
        now_s += 101
        assert_refused(site.ask(url, gateway=gateway))
        assert_refused(site.ask(url, "HEAD", gateway=gateway))


def test_a_redirect_by_another_key(site: Site, tmp_path: Path) -> None:
    """At a gateway that knows another key by the same name."""
    other: dict[str, Any] = {
        "cloudfront": CloudFrontKey(KEY_PAIR_ID, CloudFrontKeys(tmp_path).public_key_file)
    }
    if site.settings.sigv4 is not None:
        other = {"sigv4": replace(site.settings.sigv4, secret_key="another secret")}
    settings = replace(site.settings, port=0, **other)
    with capture_logs() as logs, running(make_sources(settings), settings) as gateway:
        assert_refused(site.ask(site.redirect(), gateway=gateway))
    (entry,) = [entry for entry in logs if entry["event"] == "refused"]
    assert entry["reason"] == "the signature is wrong"


def test_a_redirect_for_another_gateway(site: Site) -> None:
    parts = urlsplit(site.redirect())
    reply = ask(site.gateway.url, f"{parts.path}?{parts.query}", Host=f"other.example:{free_port()}")
    assert_refused(reply)


def test_no_secret_is_in_any_log(site: Site) -> None:
    """Of the gateway, and of the servers behind it, after requests of every kind."""
    urls = [site.redirect(), site.redirect(method="HEAD"), *altered(site).values()]
    for url in urls:
        site.ask(url)
        site.ask(url, "HEAD")
        site.ask(url, "POST")
    assert {entry["status"] for entry in site.requests()} >= {200, 403, 405}
    signatures = [match[1] for url in urls if (match := re.search(r"Signature=([^&]+)", url))]
    logs = {path: path.read_text() for path in [*site.directory.rglob("*.log"), site.s3_log]}
    assert {path.name for path in logs} == {"gateway.log", "registry.log", "versitygw.log"}
    for path, text in logs.items():
        assert text.count("\n") > 5
        for secret in (*signatures, *site.secrets):
            assert secret not in text, f"a secret is in {path.name}"
    assert "?" not in logs[site.gateway.log]
