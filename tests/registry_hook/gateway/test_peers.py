"""Real registries that redirect to the gateway, and real clients that follow."""

from __future__ import annotations

import json
import random
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from converter.oci import Digest
from p2p_seed.store import DirectoryStore
from registry_hook.gateway import GatewaySettings
from tests.images.layout import Image, build_image
from tests.p2p_seed.store.backends import access_to, new_bucket
from tests.peers.programs import ProgramError, run_program
from tests.peers.registries import Registry, RegistryKind, RegistryOptions, S3Storage
from tests.peers.s3 import S3Server
from tests.peers.tools import oras_pull, skopeo_copy
from tests.registry_hook.gateway.process import GatewayProcess

pytestmark = pytest.mark.peers

NOISE = random.Random(4)
# Three layers: tiny, of some pieces, larger than the buffers of the sockets.
IMAGE = build_image([NOISE.randbytes(512 * n) for n in (1, 5_000, 16_000)], "plain")


@dataclass
class Site:
    """A registry and the gateway it redirects to, and a repository that no other test uses."""

    registry: Registry
    gateway: GatewayProcess
    layout: Path
    store: Path
    repository: str
    requests_before: int = 0

    def push(self, tag: str) -> str:
        reference = f"docker://{self.registry.host}/{self.repository}:{tag}"
        skopeo_copy(f"oci:{self.layout}:test", reference)
        return reference

    def requests(self) -> list[dict[str, Any]]:
        """What the gateway was asked for since this test began."""
        return self.gateway.requests()[self.requests_before :]


def s3_location(server: S3Server, prefix: str) -> tuple[S3Storage, GatewaySettings]:
    bucket = new_bucket(server)
    storage = S3Storage(server.url, bucket, server.access_key, server.secret_key, prefix, server.region)
    settings = GatewaySettings(
        store=f"s3://{new_bucket(server)}/ours",
        store_s3=access_to(server),
        registry_storage=f"s3://{bucket}{prefix}",
        registry_s3=access_to(server),
        closed_network=True,
    )
    return storage, settings


@pytest.fixture(scope="module", params=list(RegistryKind))
def kind(request: pytest.FixtureRequest) -> RegistryKind:
    found: RegistryKind = request.param
    return found


@pytest.fixture(scope="module", params=["filesystem", "s3"])
def storage(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def servers(
    storage: str, kind: RegistryKind, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    IMAGE.write_layout(directory / "layout")
    (directory / "store").mkdir()
    s3: S3Storage | None = None
    if storage == "s3":
        s3, settings = s3_location(request.getfixturevalue("s3_server"), "/some/prefix")
    else:
        settings = GatewaySettings(
            store=f"filesystem:{directory / 'store'}",
            registry_storage=f"filesystem:{directory / 'registry' / 'storage'}",
            closed_network=True,
        )
    with ExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(directory, settings))
        # Distribution 2.8 drops the path of `baseurl`, 3.1 keeps it.
        options = RegistryOptions(redirect_url=f"{gateway.url}/p2p/reg", s3=s3)
        registry = stack.enter_context(Registry(kind, directory / "registry", options))
        yield Site(registry, gateway, directory / "layout", directory / "store", "")


@pytest.fixture
def site(servers: Site) -> Site:
    name = f"test/{uuid.uuid4().hex[:12]}"
    return replace(servers, repository=name, requests_before=len(servers.gateway.requests()))


on_filesystem = pytest.mark.parametrize("storage", ["filesystem"], indirect=True)


def blobs_of(image: Image) -> set[str]:
    return {str(digest) for digest in image.blobs}


def test_skopeo_pushes_and_pulls(site: Site, tmp_path: Path) -> None:
    reference = site.push("1")
    skopeo_copy(reference, f"oci:{tmp_path / 'pulled'}:test")
    for digest, content in IMAGE.blobs.items():
        assert (tmp_path / "pulled/blobs/sha256" / digest.hex).read_bytes() == content
    served = [entry for entry in site.requests() if entry["method"] == "GET"]
    assert {entry["digest"] for entry in served} == blobs_of(IMAGE)
    assert {entry["status"] for entry in served} == {200}
    assert {tuple(entry["sources"]) for entry in served} == {("registry",)}


def test_a_push_of_layers_that_exist_asks_the_gateway_and_sends_nothing(site: Site) -> None:
    site.push("1")
    uploads = site.registry.log_text().count("blobs/uploads/")
    before = len(site.requests())
    site.push("2")
    asked = site.requests()[before:]
    assert {entry["digest"] for entry in asked if entry["method"] == "HEAD"} == blobs_of(IMAGE)
    assert {entry["status"] for entry in asked} == {200}
    assert site.registry.log_text().count("blobs/uploads/") == uploads


def test_oras_pushes_and_pulls(site: Site, tmp_path: Path) -> None:
    content = NOISE.randbytes(3_000_000)
    (tmp_path / "file").write_bytes(content)
    reference = f"{site.registry.host}/{site.repository}:1"
    run_program("oras", "push", "--plain-http", reference, "file:application/test", cwd=tmp_path)
    oras_pull(reference, tmp_path / "pulled")
    assert (tmp_path / "pulled/file").read_bytes() == content
    assert str(Digest.of(content)) in {entry["digest"] for entry in site.requests()}


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=70000-1999999", 70_000, 2_000_000), ("bytes=-9", -9, None)],
)
def test_ranges_through_the_redirect(site: Site, header: str, start: int, end: int | None) -> None:
    site.push("1")
    layer = IMAGE.manifest.layers[1]
    url = f"{site.registry.url}/v2/{site.repository}/blobs/{layer.digest}"
    answer = httpx.get(url, headers={"Range": header}, follow_redirects=True, trust_env=False)
    assert [step.status_code for step in answer.history] == [307]
    assert answer.status_code == 206
    assert answer.content == IMAGE.blobs[layer.digest][start:end]


@on_filesystem
def test_our_store_comes_first(site: Site, tmp_path: Path) -> None:
    reference = site.push("1")
    layer = IMAGE.manifest.layers[2]
    (tmp_path / "blob").write_bytes(IMAGE.blobs[layer.digest])
    store = DirectoryStore(site.store)
    store.put(layer.digest, tmp_path / "blob")
    skopeo_copy(reference, f"oci:{tmp_path / 'pulled'}:test")
    store.delete(layer.digest)
    sources = {entry["digest"]: entry["sources"] for entry in site.requests() if entry["method"] == "GET"}
    assert sources.pop(str(layer.digest)) == ["store"]
    assert set(map(tuple, sources.values())) == {("registry",)}


def test_a_killed_gateway_serves_again_once_it_is_started(site: Site, tmp_path: Path) -> None:
    reference = site.push("1")
    site.gateway.kill()
    with pytest.raises(ProgramError, match="connection refused"):
        skopeo_copy(reference, f"oci:{tmp_path / 'failed'}:test", timeout_s=60)
    site.gateway.start()
    skopeo_copy(reference, f"oci:{tmp_path / 'pulled'}:test")
    site.push("2")


@on_filesystem
def test_a_blob_that_the_storage_lost_is_pushed_again(site: Site, tmp_path: Path) -> None:
    site.push("1")
    lost = IMAGE.manifest.layers[1].digest
    shutil.rmtree(site.registry.data_path(lost.hex).parent)
    reference = site.push("2")
    skopeo_copy(reference, f"oci:{tmp_path / 'pulled'}:test")
    assert (tmp_path / "pulled/blobs/sha256" / lost.hex).read_bytes() == IMAGE.blobs[lost]


def test_a_broken_store_does_not_keep_ordinary_images_from_being_pulled(
    kind: RegistryKind, tmp_path: Path, s3_server: S3Server
) -> None:
    IMAGE.write_layout(tmp_path / "layout")
    settings = GatewaySettings(
        store="s3://no-such-bucket",
        store_s3=replace(access_to(s3_server), connect_timeout_s=1),
        registry_storage=f"filesystem:{tmp_path / 'registry' / 'storage'}",
        closed_network=True,
    )
    with GatewayProcess(tmp_path, settings) as gateway:
        options = RegistryOptions(redirect_url=gateway.url)
        with Registry(kind, tmp_path / "registry", options) as registry:
            site = Site(registry, gateway, tmp_path / "layout", tmp_path, "test/app")
            reference = site.push("1")
            skopeo_copy(reference, f"oci:{tmp_path / 'pulled'}:test")
    index = json.loads((tmp_path / "pulled/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == str(IMAGE.manifest.digest)
