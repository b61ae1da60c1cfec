"""The client against docker-registry 2.8.2 and Distribution 3.1.2 as they are."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from converter.oci import (
    Descriptor,
    Digest,
    ImageManifest,
    encode_json,
    fallback_tag,
    media_types,
    parse_manifest,
)
from registry_hook.registry import (
    Credential,
    DeniedError,
    FixedCredentials,
    Merge,
    RefusedError,
    RegistryClient,
    RegistryEndpoint,
    RegistryUnavailableError,
    RetryPolicy,
    UnauthorizedError,
    UntrustedCertificateError,
    update_fallback_index,
)
from registry_hook.registry.artifacts import pull_artifact, push_artifact
from tests.peers.certificates import CertificateAuthority
from tests.peers.registries import BasicUser, Registry, RegistryKind, RegistryOptions, TokenAuth
from tests.registry_hook.registry.cutting_proxy import CuttingProxy
from tests.registry_hook.registry.fake import blob, image_bytes, index_bytes
from tests.registry_hook.registry.token_server import ISSUER, SERVICE, TokenServer

pytestmark = pytest.mark.peers

MIB = 1 << 20
EMPTY = blob(b"{}", media_types.OCI_EMPTY)
HASTY = RetryPolicy(attempts=8, first_pause_s=0.01, longest_pause_s=0.05)
StartRegistry = Callable[..., Registry]


@pytest.fixture(params=list(RegistryKind), ids=lambda kind: str(kind))
def kind(request: pytest.FixtureRequest) -> RegistryKind:
    return RegistryKind(request.param)


@pytest.fixture
def registry(kind: RegistryKind, start_registry: StartRegistry) -> Registry:
    return start_registry(kind)


@pytest.fixture
def client(registry: Registry) -> Iterator[RegistryClient]:
    with RegistryClient(RegistryEndpoint(registry.url)) as client:
        yield client


def push_image(client: RegistryClient, repository: str, tag: str, annotation: str = "") -> Digest:
    raw = image_bytes(annotation)
    client.put_blob(repository, EMPTY, b"{}")
    client.put_manifest(repository, tag, raw, media_types.OCI_MANIFEST)
    return Digest.of(raw)


def large_file(path: Path, size: int) -> Descriptor:
    content = random.Random(size).randbytes(size)
    path.write_bytes(content)
    return blob(content)


def test_blobs_and_manifests_go_in_and_come_out(
    client: RegistryClient, registry: Registry, tmp_path: Path
) -> None:
    large = large_file(tmp_path / "blob", 70 * MIB)
    assert client.put_blob("a/b", large, tmp_path / "blob") is True
    assert client.put_blob("a/b", large, tmp_path / "blob") is False
    assert client.blob_size("a/b", large.digest) == large.size
    assert client.blob_size("a/b", Digest.of(b"absent")) is None
    with client.open_blob("a/b", large) as stream:
        assert Digest.of(stream.read()) == large.digest
    assert registry.data_path(large.digest.hex).stat().st_size == large.size
    digest = push_image(client, "a/b", "v1")
    assert client.resolve("a/b", "v1") == Descriptor(media_types.OCI_MANIFEST, digest, len(image_bytes()))
    index = index_bytes(Descriptor(media_types.OCI_MANIFEST, digest, len(image_bytes())))
    client.put_manifest("a/b", "multi", index, media_types.OCI_INDEX)
    assert client.manifest("a/b", "multi").raw == index
    assert client.resolve("a/b", "absent") is None
    assert client.delete_manifest("a/b", digest) is True
    assert client.delete_manifest("a/b", digest) is False
    assert client.resolve("a/b", "v1") is None


def test_a_mount_moves_no_bytes(client: RegistryClient, registry: Registry, tmp_path: Path) -> None:
    large = large_file(tmp_path / "blob", MIB)
    client.put_blob("from", large, tmp_path / "blob")
    assert client.put_blob("to", large, tmp_path / "blob", mount_from="from") is True
    assert client.blob_size("to", large.digest) == large.size
    assert registry.log_text().count('"PUT /v2/to/') == 0
    assert client.put_blob("third", large, tmp_path / "blob", mount_from="never-existed") is True


@pytest.mark.parametrize("cuts", [[5 * MIB], [100_000, 9 * MIB, 3 * MIB, 100]])
def test_a_download_survives_cut_connections(
    cuts: list[int], registry: Registry, client: RegistryClient, tmp_path: Path
) -> None:
    large = large_file(tmp_path / "blob", 20 * MIB)
    client.put_blob("app", large, tmp_path / "blob")
    with (
        CuttingProxy(registry.port, cuts, upstream=False) as proxy,
        RegistryClient(RegistryEndpoint(proxy.url), retry=HASTY) as through,
        through.open_blob("app", large) as stream,
    ):
        assert Digest.of(stream.read()) == large.digest
        assert proxy.done == len(cuts)


@pytest.mark.parametrize("cuts", [[10 * MIB], [40 * MIB, 5 * MIB], [69 * MIB], [100 * MIB, 100_000]])
def test_an_upload_survives_cut_connections(
    cuts: list[int], kind: RegistryKind, registry: Registry, client: RegistryClient, tmp_path: Path
) -> None:
    large = large_file(tmp_path / "blob", 101 * MIB)
    # Long enough for a busy registry to notice that the connection is gone.
    retry = RetryPolicy(attempts=8, first_pause_s=0.5, longest_pause_s=2.0)
    with (
        CuttingProxy(registry.port, cuts, upstream=True) as proxy,
        RegistryClient(RegistryEndpoint(proxy.url), retry=retry) as through,
    ):
        assert through.put_blob("app", large, tmp_path / "blob") is True
        assert proxy.done == len(cuts)
    assert client.blob_size("app", large.digest) == large.size
    # 3.1 keeps what a broken request brought; 2.8 forgets the upload, and gets a new one for each cut.
    starts = registry.log_text().count('"POST /v2/app/blobs/uploads/')
    assert starts == 1 if kind is RegistryKind.V3 else 1 <= starts <= 1 + len(cuts)


def test_an_upload_that_is_always_cut_is_given_up(registry: Registry, tmp_path: Path) -> None:
    large = large_file(tmp_path / "blob", 3 * MIB)
    with (
        CuttingProxy(registry.port, [100_000] * 200, upstream=True) as proxy,
        RegistryClient(RegistryEndpoint(proxy.url), retry=HASTY) as through,
        pytest.raises(RegistryUnavailableError),
    ):
        through.put_blob("app", large, tmp_path / "blob")


def test_a_restart_in_the_middle_is_survived(registry: Registry, tmp_path: Path) -> None:
    """The registry is killed while 200 MiB are on their way, and comes back."""
    large = large_file(tmp_path / "blob", 200 * MIB)
    patient = RetryPolicy(attempts=10, first_pause_s=0.3, longest_pause_s=1.0)
    outcome: list[bool] = []
    with RegistryClient(RegistryEndpoint(registry.url), retry=patient) as client:
        upload = threading.Thread(
            target=lambda: outcome.append(client.put_blob("app", large, tmp_path / "blob"))
        )
        upload.start()
        while upload.is_alive() and " 202 " not in registry.log_text():
            time.sleep(0.01)
        registry.kill()
        registry.start()
        upload.join(timeout=60)
        assert outcome == [True]
        assert client.blob_size("app", large.digest) == large.size


def test_the_catalog_has_more_than_one_page(client: RegistryClient, registry: Registry) -> None:
    wanted = [f"team/app-{number:03}" for number in range(105)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda repository: push_image(client, repository, "v1"), wanted))
    assert sorted(client.repositories()) == wanted
    assert registry.log_text().count("/v2/_catalog?last=") > 0


def test_tags_and_their_quirks(client: RegistryClient) -> None:
    assert client.tags("app") == []
    names = [f"v{number}" for number in range(40)]
    digests = {push_image(client, "app", name, name) for name in names}
    assert client.tags("app") == sorted(names)
    for digest in digests:
        client.delete_manifest("app", digest)
    assert client.tags("app") == []


def test_eight_writers_of_one_fallback_index_lose_nothing(client: RegistryClient) -> None:
    subject = push_image(client, "app", "v1")
    children = [
        Descriptor(media_types.OCI_MANIFEST, push_image(client, "app", f"c{n}", f"c{n}"), 1) for n in range(8)
    ]
    lock = threading.Lock()

    def adding(child: Descriptor) -> Merge:
        def merge(existing: bytes | None, _gone: Collection[str] = ()) -> bytes:
            found = json.loads(existing)["manifests"] if existing else []
            entries = [Descriptor.from_json(item) for item in found]
            return index_bytes(*entries, *([] if child in entries else [child]))

        return merge

    threads = [
        threading.Thread(target=update_fallback_index, args=(client, "app", subject, adding(child), lock))
        for child in children
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = client.referrers("app", subject)
    assert len(found) == len(children)
    assert set(map(str, found)) == set(map(str, children))


def test_referrers_fall_back_to_the_tag(client: RegistryClient) -> None:
    subject = push_image(client, "app", "v1")
    assert client.referrers("app", subject) == []
    child = Descriptor(media_types.OCI_MANIFEST, push_image(client, "app", "child", "child"), 1)
    raw = index_bytes(child)
    update_fallback_index(client, "app", subject, lambda _existing, _gone: raw, nullcontext())
    assert client.tags("app") == sorted(["child", fallback_tag(subject), "v1"])
    assert client.referrers("app", subject) == [child]


def artifact(subject: Digest, layer: Descriptor) -> ImageManifest:
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "artifactType": media_types.CHUNK_LIST,
            "config": EMPTY.to_json(),
            "layers": [layer.to_json()],
            "subject": Descriptor(media_types.OCI_MANIFEST, subject, 1).to_json(),
        }
    )
    manifest = parse_manifest(raw)
    assert isinstance(manifest, ImageManifest)
    return manifest


def test_artifacts_go_in_and_come_out(client: RegistryClient, tmp_path: Path) -> None:
    subject = push_image(client, "my.app/x", "v1")
    large = large_file(tmp_path / "list", 20 * MIB)
    pushed = artifact(subject, large)
    blobs: list[tuple[Descriptor, Path | bytes]] = [(EMPTY, b"{}"), (large, tmp_path / "list")]
    for _ in range(2):
        assert push_artifact(client, "my.app/x", "list", pushed, blobs) is False
    pulled = pull_artifact(client, "my.app/x", "list", tmp_path)
    assert pulled.manifest == pushed
    assert Digest.of(pulled.files[large.digest].read_bytes()) == large.digest


def test_a_user_and_a_password(kind: RegistryKind, start_registry: StartRegistry, tmp_path: Path) -> None:
    user = BasicUser()
    registry = start_registry(kind, RegistryOptions(basic_user=user))
    endpoint = RegistryEndpoint(registry.url)
    right = FixedCredentials({registry.host: Credential(user.name, user.password)})
    with RegistryClient(endpoint, right) as client:
        digest = push_image(client, "app", "v1")
        assert list(client.repositories()) == ["app"]
        push_artifact(client, "app", "list", artifact(digest, EMPTY), [(EMPTY, b"{}")])
    wrong = FixedCredentials({registry.host: Credential(user.name, "wrong")})
    for source in (wrong, None):
        with RegistryClient(endpoint, source) as client, pytest.raises(UnauthorizedError):
            client.resolve("app", "v1")


def test_tokens(kind: RegistryKind, start_registry: StartRegistry, tmp_path: Path) -> None:
    with TokenServer(tmp_path, ("user", "secret")) as tokens:
        auth = TokenAuth(tokens.realm, tokens.certificate, SERVICE, ISSUER)
        registry = start_registry(kind, RegistryOptions(token_auth=auth))
        endpoint = RegistryEndpoint(registry.url)
        right = FixedCredentials({registry.host: Credential("user", "secret")})
        with RegistryClient(endpoint, right) as client:
            digest = push_image(client, "app", "v1")
            client.put_blob("base", EMPTY, b"{}")
            other = blob(b"other")
            client.put_blob("base", other, b"other")
            assert client.put_blob("app", other, b"other", mount_from="base") is True
            assert sorted(client.repositories())[0] == "app"
            push_artifact(client, "app", "list", artifact(digest, EMPTY), [(EMPTY, b"{}")])
            assert client.delete_manifest("app", artifact(digest, EMPTY).digest) is True
            asked = len(tokens.asked)
            for _ in range(20):
                client.resolve("app", "v1")
            assert len(tokens.asked) == asked
        with RegistryClient(endpoint) as anonymous:
            assert anonymous.resolve("app", "v1") is not None
            with pytest.raises(DeniedError):
                anonymous.put_manifest("app", "v2", image_bytes(), media_types.OCI_MANIFEST)
        wrong = FixedCredentials({registry.host: Credential("user", "wrong")})
        with RegistryClient(endpoint, wrong) as client, pytest.raises(UnauthorizedError):
            client.resolve("app", "v1")


def test_short_lived_tokens_are_renewed(start_registry: StartRegistry, tmp_path: Path) -> None:
    with TokenServer(tmp_path, ("user", "secret"), lifetime_s=2) as tokens:
        auth = TokenAuth(tokens.realm, tokens.certificate, SERVICE, ISSUER)
        registry = start_registry(RegistryKind.V3, RegistryOptions(token_auth=auth))
        source = FixedCredentials({registry.host: Credential("user", "secret")})
        with RegistryClient(RegistryEndpoint(registry.url), source) as client:
            client.tags("app")
            asked = len(tokens.asked)
            time.sleep(1.6)
            client.tags("app")
        assert len(tokens.asked) == asked + 1


def test_tls_with_an_authority_of_our_own(
    kind: RegistryKind, start_registry: StartRegistry, tmp_path: Path
) -> None:
    authority = CertificateAuthority(tmp_path)
    registry = start_registry(kind, RegistryOptions(tls=authority.issue()))
    with RegistryClient(RegistryEndpoint(registry.url, ca_file=authority.certificate)) as client:
        push_image(client, "app", "v1")
        assert client.tags("app") == ["v1"]
    with RegistryClient(RegistryEndpoint(registry.url)) as client, pytest.raises(UntrustedCertificateError):
        client.tags("app")
    other_name = registry.url.replace("127.0.0.1", "127.1")  # the same address, but not in the certificate
    with (
        RegistryClient(RegistryEndpoint(other_name, ca_file=authority.certificate)) as client,
        pytest.raises(UntrustedCertificateError),
    ):
        client.tags("app")
    plain = RegistryEndpoint(registry.url.replace("https", "http"))
    with RegistryClient(plain, retry=HASTY) as client, pytest.raises(RefusedError, match=" 400"):
        client.tags("app")


def test_an_index_that_lists_a_deleted_manifest_can_be_updated(
    start_registry: StartRegistry, kind: RegistryKind
) -> None:
    registry = start_registry(kind, RegistryOptions(deletion=True))
    with RegistryClient(RegistryEndpoint(registry.url)) as client:
        subject = push_image(client, "app", "v1")
        old, new = (
            Descriptor(media_types.OCI_MANIFEST, push_image(client, "app", name, name), 1) for name in "ab"
        )

        def adding(child: Descriptor) -> Merge:
            def merge(existing: bytes | None, gone: Collection[str]) -> bytes:
                found = json.loads(existing)["manifests"] if existing else []
                entries = [Descriptor.from_json(item) for item in found if item["digest"] not in gone]
                return index_bytes(*entries, *([] if child in entries else [child]))

            return merge

        update_fallback_index(client, "app", subject, adding(old), nullcontext())
        client.delete_manifest("app", old.digest)
        update_fallback_index(client, "app", subject, adding(new), nullcontext())
        assert client.referrers("app", subject) == [new]
