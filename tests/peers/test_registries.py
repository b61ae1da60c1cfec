"""The harness itself: what each option of a real registry promises to the tests that use it."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from converter.oci.media_types import OCI_CONFIG, OCI_MANIFEST
from tests.conftest import StartRegistry
from tests.peers.certificates import CertificateAuthority
from tests.peers.programs import ProgramError
from tests.peers.registries import (
    BasicUser,
    Notifications,
    Registry,
    RegistryKind,
    RegistryOptions,
    S3Storage,
    TlsFiles,
)
from tests.peers.s3 import S3Server
from tests.peers.server import LOOPBACK, free_port

pytestmark = pytest.mark.peers
BOTH = pytest.mark.parametrize("kind", list(RegistryKind))


def push_blob(registry: Registry, content: bytes, repository: str = "demo/app") -> str:
    start = httpx.post(f"{registry.url}/v2/{repository}/blobs/uploads/")
    assert start.status_code == 202, start.text
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = httpx.URL(start.headers["Location"]).copy_merge_params({"digest": digest})
    done = httpx.put(location, content=content)
    assert done.status_code == 201, done.text
    return digest


def push_manifest(registry: Registry, tag: str) -> None:
    config = push_blob(registry, b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config, "size": 2},
        "layers": [],
    }
    done = httpx.put(
        f"{registry.url}/v2/demo/app/manifests/{tag}",
        content=json.dumps(manifest),
        headers={"Content-Type": OCI_MANIFEST},
    )
    assert done.status_code == 201, done.text


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/events", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_keeps_port_and_content_over_a_crash(registry: Registry) -> None:
    digest = push_blob(registry, b"some content")
    assert registry.data_path(digest.removeprefix("sha256:")).read_bytes() == b"some content"
    registry.kill()
    assert not registry.is_ready()
    registry.start()
    assert httpx.get(f"{registry.url}/v2/demo/app/blobs/{digest}").content == b"some content"


@BOTH
def test_posts_only_manifest_pushes(start_registry: StartRegistry, kind: RegistryKind) -> None:
    with receiver() as (url, received):
        options = RegistryOptions(notifications=Notifications(url, "the-token"))
        registry = start_registry(kind, options)
        push_manifest(registry, "v1")
        httpx.get(
            f"{registry.url}/v2/demo/app/manifests/v1", headers={"Accept": OCI_MANIFEST}
        ).raise_for_status()
        push_manifest(registry, "v2")
        deadline = time.monotonic() + 10
        while len(received) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    events = [event for _, body in received for event in json.loads(body)["events"]]
    assert {header for header, _ in received} == {"Bearer the-token"}
    assert [(event["action"], event["target"]["tag"]) for event in events] == [("push", "v1"), ("push", "v2")]


@BOTH
def test_redirects_blobs_with_the_storage_path(start_registry: StartRegistry, kind: RegistryKind) -> None:
    target = f"http://{LOOPBACK}:{free_port()}"
    registry = start_registry(kind, RegistryOptions(redirect_url=target))
    digest = push_blob(registry, b"redirect me")
    answer = httpx.get(f"{registry.url}/v2/demo/app/blobs/{digest}")
    assert answer.status_code == 307
    hexadecimal = digest.removeprefix("sha256:")
    path = f"/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    assert answer.headers["Location"] == target + path


@BOTH
def test_asks_for_the_one_user(start_registry: StartRegistry, kind: RegistryKind) -> None:
    user = BasicUser()
    registry = start_registry(kind, RegistryOptions(basic_user=user))
    assert httpx.get(f"{registry.url}/v2/").status_code == 401
    assert httpx.get(f"{registry.url}/v2/", auth=(user.name, "wrong")).status_code == 401
    assert httpx.get(f"{registry.url}/v2/", auth=(user.name, user.password)).status_code == 200


@BOTH
def test_keeps_content_in_a_bucket(
    start_registry: StartRegistry, s3_server: S3Server, kind: RegistryKind
) -> None:
    bucket = f"registry-{kind.name.lower()}"
    s3_server.create_bucket(bucket)
    storage = S3Storage(s3_server.url, bucket, s3_server.access_key, s3_server.secret_key, "/prefix")
    registry = start_registry(kind, RegistryOptions(s3=storage))
    digest = push_blob(registry, b"in a bucket").removeprefix("sha256:")
    stored = (
        s3_server.objects / bucket / "prefix/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    )
    assert stored.read_bytes() == b"in a bucket"


def test_refuses_a_port_in_use(tmp_path: Path) -> None:
    with Registry(RegistryKind.V2, tmp_path / "first") as first:
        second = Registry(RegistryKind.V2, tmp_path / "second", port=first.port)
        with pytest.raises(ProgramError, match="in use"):
            second.start()


def test_a_registry_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    missing = TlsFiles(tmp_path / "missing.crt", tmp_path / "missing.key")
    registry = Registry(RegistryKind.V2, tmp_path / "registry", RegistryOptions(tls=missing))
    with pytest.raises(ProgramError, match=r"missing\.crt"):
        registry.start()


@BOTH
def test_serves_tls_from_an_authority_of_its_own(
    start_registry: StartRegistry, tmp_path: Path, kind: RegistryKind
) -> None:
    authority = CertificateAuthority(tmp_path)
    registry = start_registry(kind, RegistryOptions(tls=authority.issue()))
    trusting = ssl.create_default_context(cafile=authority.certificate)
    assert httpx.get(f"{registry.url}/v2/", verify=trusting).status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{registry.url}/v2/")
