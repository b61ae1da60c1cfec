"""Artifacts over oras: exact bytes, digests checked, nothing of its own ways left."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import httpx
import pytest

from converter.oci import Digest, ImageManifest, encode_json, media_types, parse_manifest
from registry_hook.registry import (
    Credential,
    DigestMismatchError,
    FixedCredentials,
    NotFoundError,
    ProtocolError,
    RegistryClient,
    RegistryEndpoint,
    RegistryUnavailableError,
    SizeMismatchError,
    UnauthorizedError,
)
from registry_hook.registry.artifacts import pull_artifact, push_artifact
from tests.registry_hook.registry.fake import (
    URL,
    FakeRegistry,
    Pieces,
    blob,
    broken,
    client_of,
    index_bytes,
    once,
)
from tests.registry_hook.registry.test_auth import BASIC, BasicGuarded

LIST = random.Random(5).randbytes(100_000)
EMPTY = blob(b"{}", media_types.OCI_EMPTY)
LAYER = blob(LIST, media_types.CHUNK_LIST)


def artifact() -> ImageManifest:
    subject = blob(b"subject", media_types.OCI_MANIFEST)
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "artifactType": media_types.CHUNK_LIST,
            "config": EMPTY.to_json(),
            "layers": [LAYER.to_json()],
            "subject": subject.to_json(),
        }
    )
    manifest = parse_manifest(raw + b"\n ")  # bytes that no serialiser would write
    assert isinstance(manifest, ImageManifest)
    return manifest


def push(client: RegistryClient, repository: str = "app", source: bytes | Path = LIST) -> bool:
    return push_artifact(client, repository, "name", artifact(), [(EMPTY, b"{}"), (LAYER, source)])


@pytest.mark.parametrize("repository", ["app", "my.app/x", "a/b/c", "localhost/x", "a-b.c_d/e"])
def test_exact_bytes_arrive_and_come_back(repository: str, tmp_path: Path) -> None:
    registry = FakeRegistry()
    path = tmp_path / "list"
    path.write_bytes(LIST)
    with client_of(registry) as client:
        for source in (LIST, path):
            assert push(client, repository, source) is False
        pulled = pull_artifact(client, repository, "name", tmp_path)
        again = pull_artifact(client, repository, str(artifact().digest), tmp_path)
    assert pulled == again
    assert pulled.manifest.raw == artifact().raw
    assert {digest: file.read_bytes() for digest, file in pulled.files.items()} == {LAYER.digest: LIST}
    assert registry.manifests[f"{repository}:name"] == (media_types.OCI_MANIFEST, artifact().raw)


def test_blobs_come_first_and_only_once() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        push(client)
        assert registry.methods() == ["HEAD", "POST", "PUT", "HEAD", "POST", "PUT", "PUT"]
        assert registry.requests[-1].url.path == "/v2/app/manifests/name"
        registry.requests.clear()
        push(client)
        assert registry.methods() == ["HEAD", "HEAD", "PUT"]


def test_an_indexing_registry_says_so() -> None:
    registry = FakeRegistry()

    def indexing(request: httpx.Request) -> httpx.Response | None:
        if "/manifests/" not in request.url.path:
            return None
        answer = registry.answer(request)
        answer.headers["OCI-Subject"] = "sha256:x"
        return answer

    registry.faults.append(indexing)
    with client_of(registry) as client:
        assert push(client) is True


def test_large_blobs_go_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 << 20))
    large = blob(path.read_bytes())
    registry = FakeRegistry()
    with client_of(registry) as client:
        push_artifact(client, "app", "name", artifact(), [(large, path)])
    assert max(len(request.content) for request in registry.requests) == 8 << 20
    assert registry.blobs[str(large.digest)] == path.read_bytes()


def test_wrong_content_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(LIST[::-1])
    registry = FakeRegistry()
    with client_of(registry) as client:
        for source in (LIST[::-1], path):
            with pytest.raises(DigestMismatchError):
                push(client, source=source)
        with pytest.raises(SizeMismatchError):
            push(client, source=LIST[:-1])
    assert str(LAYER.digest) not in registry.blobs
    assert registry.manifests == {}


@pytest.mark.parametrize("content", [LIST[::-1], LIST[:-1], LIST + b"x", b""])
def test_wrong_content_is_not_left_behind(content: bytes, tmp_path: Path) -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        push(client)
        registry.blobs[str(LAYER.digest)] = content
        with pytest.raises((DigestMismatchError, SizeMismatchError)):
            pull_artifact(client, "app", "name", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_with_another_digest_is_refused(tmp_path: Path) -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        push(client)
        registry.manifests["app:" + str(Digest.of(b"wanted"))] = registry.manifests["app:name"]
        with pytest.raises(DigestMismatchError):
            pull_artifact(client, "app", str(Digest.of(b"wanted")), tmp_path)
        index = index_bytes()
        client.put_manifest("app", "index", index, media_types.OCI_INDEX)
        with pytest.raises((ProtocolError, NotFoundError)):
            pull_artifact(client, "app", "index", tmp_path)
        with pytest.raises(NotFoundError):
            pull_artifact(client, "app", "absent", tmp_path)


def test_titles_are_no_file_names(tmp_path: Path) -> None:
    evil = {**LAYER.to_json(), "annotations": {"org.opencontainers.image.title": "../../evil"}}
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": EMPTY.to_json(),
            "layers": [evil],
        }
    )
    registry = FakeRegistry()
    with client_of(registry) as client:
        push(client)
        client.put_manifest("app", "evil", raw, media_types.OCI_MANIFEST)
        pull_artifact(client, "app", "evil", tmp_path / ".")
    assert [path.name for path in tmp_path.iterdir()] == [LAYER.digest.hex]


def test_broken_connections_are_repeated(tmp_path: Path) -> None:
    registry = FakeRegistry()
    registry.faults += [broken(httpx.WriteError("reset"), "PUT"), broken(httpx.ReadError("reset"), "POST")]
    with client_of(registry) as client:
        push(client)
        half = httpx.Response(200, stream=Pieces([LIST[:5000]], httpx.ReadError("reset")))
        registry.faults += [lambda request: half if "/blobs/" in request.url.path else None]
        pulled = pull_artifact(client, "app", "name", tmp_path)
    assert pulled.files[LAYER.digest].read_bytes() == LIST


def test_retries_are_ours_and_bounded() -> None:
    registry = FakeRegistry(faults=[broken(httpx.ConnectError("refused")) for _ in range(99)])
    started = time.monotonic()
    with client_of(registry) as client, pytest.raises(RegistryUnavailableError):
        push(client)
    assert time.monotonic() - started < 2  # oras alone would sleep 131 s
    assert len(registry.requests) <= 16


def test_a_server_error_is_not_slept_over() -> None:
    registry = FakeRegistry(faults=[once(httpx.Response(500)) for _ in range(99)])
    started = time.monotonic()
    with client_of(registry) as client, pytest.raises(RegistryUnavailableError):
        push(client)
    assert time.monotonic() - started < 2


def test_credentials_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine registry.test login other password other\n")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths":{"registry.test":{"auth":"b3RoZXI6b3RoZXI="}}}')
    guarded = BasicGuarded()
    source = FixedCredentials({"registry.test": Credential("user", "pa:ss")})
    with client_of(guarded, source) as client:
        push(client)
    assert {request.headers.get("Authorization") for request in guarded.requests} == {None, BASIC}
    with client_of(BasicGuarded()) as client, pytest.raises(UnauthorizedError):
        push(client)


def test_an_upload_elsewhere_is_refused() -> None:
    away = httpx.Response(202, headers={"Location": "https://evil.test/v2/app/blobs/uploads/1"})
    registry = FakeRegistry(faults=[once(away, "POST")])
    with client_of(registry) as client, pytest.raises(ProtocolError):
        push(client)
    assert {request.url.host for request in registry.requests} == {"registry.test"}


def test_a_registry_below_a_path() -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "/proxy/v2/app/blobs/uploads/1"})
        return httpx.Response(404 if request.method == "HEAD" else 201)

    with client_of(handle, endpoint=RegistryEndpoint(f"{URL}/proxy")) as client:
        push(client)
    assert all(path.startswith("/proxy/v2/app/") for path in seen)
