"""Manifests, lists and their quirks (registry.md §5 and §9)."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    InvalidManifestError,
    OciError,
    media_types,
)
from registry_hook.registry import (
    Credential,
    DigestMismatchError,
    NotFoundError,
    ProtocolError,
    RefusedError,
    RegistryClient,
    RegistryError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from tests.registry_hook.registry.fake import (
    FakeRegistry,
    Handler,
    blob,
    client_of,
    error,
    image_bytes,
    index_bytes,
    json_page,
    once,
)

IMAGE = image_bytes()
DIGEST = Digest.of(IMAGE)


def answers(*given: httpx.Response) -> tuple[list[httpx.Request], Handler]:
    queue, seen = list(given), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return queue.pop(0)

    return seen, handle


def manifest_answer(raw: bytes = IMAGE, **headers: str) -> httpx.Response:
    return httpx.Response(
        200,
        headers={
            "Content-Type": media_types.OCI_MANIFEST,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        },
        content=raw,
    )


def test_manifests_come_back_as_they_were() -> None:
    registry = FakeRegistry()
    index = index_bytes(Descriptor(media_types.OCI_MANIFEST, DIGEST, len(IMAGE)))
    with client_of(registry) as client:
        assert client.put_manifest("a/b", str(DIGEST), IMAGE, media_types.OCI_MANIFEST) is False
        client.put_manifest("a/b", "multi", index, media_types.OCI_INDEX)
        assert client.resolve("a/b", "multi") == Descriptor(
            media_types.OCI_INDEX, Digest.of(index), len(index)
        )
        found = client.manifest("a/b", "multi")
        assert isinstance(found, ImageIndex)
        assert found.raw == index
        child = client.manifest("a/b", str(DIGEST))
        assert isinstance(child, ImageManifest)
        assert child.raw == IMAGE
        assert client.resolve("a/b", "absent") is None
        with pytest.raises(NotFoundError):
            client.manifest("a/b", "absent")
    # 2.8.2 answers 404 for what Accept does not list, whatever `*/*` says.
    for request in registry.requests:
        if request.method in ("GET", "HEAD"):
            assert set(media_types.ACCEPT_MANIFESTS) == set(request.headers["Accept"].split(", "))


def test_an_indexing_registry_says_so() -> None:
    _, handle = answers(httpx.Response(201, headers={"OCI-Subject": str(DIGEST)}))
    with client_of(handle) as client:
        assert client.put_manifest("app", "v1", IMAGE, media_types.OCI_MANIFEST) is True


@pytest.mark.parametrize(
    "answer",
    [
        manifest_answer(IMAGE + b" "),
        manifest_answer(image_bytes("another")),
        manifest_answer(Docker_Content_Digest=str(Digest.of(b"else"))),
    ],
)
def test_a_manifest_with_another_digest_is_refused(answer: httpx.Response) -> None:
    _, handle = answers(answer)
    with client_of(handle) as client, pytest.raises(DigestMismatchError):
        client.manifest("app", str(DIGEST))


def test_a_tag_with_bytes_that_the_header_denies_is_refused() -> None:
    _, handle = answers(manifest_answer(Docker_Content_Digest=str(Digest.of(b"else"))))
    with client_of(handle) as client, pytest.raises(DigestMismatchError):
        client.manifest("app", "v1")


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": "sha256:short"}])
def test_a_head_without_a_digest_is_an_error(headers: dict[str, str]) -> None:
    answer = httpx.Response(
        200, headers={"Content-Type": media_types.OCI_MANIFEST, "Content-Length": "5", **headers}
    )
    _, handle = answers(answer)
    with client_of(handle) as client, pytest.raises(ProtocolError):
        client.resolve("app", "v1")


def test_a_head_for_a_digest_that_names_another_is_refused() -> None:
    headers = {
        "Content-Type": media_types.OCI_MANIFEST,
        "Content-Length": "5",
        "Docker-Content-Digest": str(Digest.of(b"else")),
    }
    _, handle = answers(httpx.Response(200, headers=headers))
    with client_of(handle) as client, pytest.raises(DigestMismatchError):
        client.resolve("app", str(DIGEST))


def test_what_is_no_manifest_is_refused() -> None:
    for answer in (manifest_answer(b"<html>"), manifest_answer(IMAGE, Content_Type="text/html")):
        _, handle = answers(answer)
        with client_of(handle) as client, pytest.raises(InvalidManifestError):
            client.manifest("app", "v1")


def test_putting_under_a_wrong_digest_is_our_own_mistake() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client, pytest.raises(DigestMismatchError):
        client.put_manifest("app", str(Digest.of(b"else")), IMAGE, media_types.OCI_MANIFEST)
    assert registry.requests == []


def test_a_registry_that_stores_other_bytes_is_noticed() -> None:
    _, handle = answers(httpx.Response(201, headers={"Docker-Content-Digest": str(Digest.of(b"else"))}))
    with client_of(handle) as client, pytest.raises(DigestMismatchError, match="as stored"):
        client.put_manifest("app", "v1", IMAGE, media_types.OCI_MANIFEST)


def test_deleting() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        client.put_manifest("app", "v1", IMAGE, media_types.OCI_MANIFEST)
        assert client.delete_manifest("app", DIGEST) is True
        assert client.delete_manifest("app", DIGEST) is False
        registry.faults.append(once(error(405, "UNSUPPORTED"), "DELETE"))
        with pytest.raises(RefusedError):
            client.delete_manifest("app", DIGEST)


def test_a_blob_without_a_length_is_an_error() -> None:
    _, handle = answers(httpx.Response(200, stream=httpx.ByteStream(b"")))
    with client_of(handle) as client, pytest.raises(ProtocolError, match="without a length"):
        client.blob_size("app", blob(b"x").digest)


def test_the_catalog_follows_relative_links() -> None:
    seen, handle = answers(
        json_page({"repositories": ["a", "b"]}, "/v2/_catalog?last=b&n=2"),
        json_page({"repositories": ["c/d"]}, "https://registry.test/v2/_catalog?last=c%2Fd&n=2"),
        json_page({"repositories": []}),
    )
    with client_of(handle) as client:
        assert list(client.repositories()) == ["a", "b", "c/d"]
    # No `n` of our own: above catalog.maxentries it would be refused.
    assert [str(request.url) for request in seen] == [
        "https://registry.test/v2/_catalog",
        "https://registry.test/v2/_catalog?last=b&n=2",
        "https://registry.test/v2/_catalog?last=c%2Fd&n=2",
    ]


def test_the_catalog_is_read_page_by_page() -> None:
    seen, handle = answers(json_page({"repositories": ["a"]}, "/v2/_catalog?last=a"), error(500, "UNKNOWN"))
    with client_of(handle) as client:
        names = client.repositories()
        assert next(names) == "a"
        assert len(seen) == 1


@pytest.mark.parametrize(
    "link", ["/v2/_catalog", "/v2/_catalog?last=a", "https://evil.test/v2/_catalog?last=z", "http://["]
)
def test_lists_that_do_not_end_or_lead_away_are_refused(link: str) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "registry.test"
        return json_page({"repositories": ["a"]}, link)

    with client_of(handle) as client, pytest.raises(ProtocolError):
        list(client.repositories())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (json_page({"name": "app", "tags": ["v2", "v10", "v1", "v1"]}), ["v1", "v10", "v2"]),  # 2.8: unsorted
        (json_page({"name": "app", "tags": None}), []),  # 2.8, all tags deleted
        (json_page({"name": "app", "tags": []}), []),  # 3.1
        (error(404, "NAME_UNKNOWN"), []),  # never had a tag
    ],
)
def test_tags_in_all_their_forms(answer: httpx.Response, expected: list[str]) -> None:
    _, handle = answers(answer)
    with client_of(handle) as client:
        assert client.tags("app") == expected


def test_tags_come_in_pages_too() -> None:
    _, handle = answers(
        json_page({"tags": ["a"]}, "/v2/app/tags/list?last=a&n=1000"), json_page({"tags": ["b"]})
    )
    with client_of(handle) as client:
        assert client.tags("app") == ["a", "b"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b'{"tags":5}', b'{"tags":[5]}', b'{"tags":{}}', b"[" * 100_000]
)
def test_lists_of_something_else_are_refused(body: bytes) -> None:
    _, handle = answers(httpx.Response(200, content=body))
    with client_of(handle) as client, pytest.raises(ProtocolError):
        client.tags("app")


def entry(content: bytes) -> Descriptor:
    return Descriptor(
        media_types.OCI_MANIFEST, Digest.of(content), len(content), artifact_type="application/x"
    )


def test_the_referrers_api() -> None:
    first, second = index_bytes(entry(b"1")), index_bytes(entry(b"2"))
    headers = {
        "Content-Type": media_types.OCI_INDEX,
        "Link": f'</v2/app/referrers/{DIGEST}?page=2>; rel="next"',
    }
    seen, handle = answers(
        httpx.Response(200, headers=headers, content=first),
        httpx.Response(200, headers={"Content-Type": media_types.OCI_INDEX}, content=second),
    )
    with client_of(handle) as client:
        assert client.referrers("app", DIGEST) == [entry(b"1"), entry(b"2")]
    assert seen[0].url.path == f"/v2/app/referrers/{DIGEST}"


def test_the_fallback_tag() -> None:
    registry = FakeRegistry()  # answers 404 for the referrers API, as Distribution does
    with client_of(registry) as client:
        assert client.referrers("app", DIGEST) == []
        index = index_bytes(entry(b"1"))
        client.put_manifest("app", f"sha256-{DIGEST.hex}", index, media_types.OCI_INDEX)
        assert client.referrers("app", DIGEST) == [entry(b"1")]
        client.put_manifest("app", f"sha256-{DIGEST.hex}", IMAGE, media_types.OCI_MANIFEST)
        with pytest.raises(ProtocolError, match="should be a referrers index"):
            client.referrers("app", DIGEST)


def test_a_page_that_is_no_index_is_no_list_of_referrers() -> None:
    _, handle = answers(httpx.Response(200, headers={"Content-Type": "text/html"}, content=b"{}"))
    with client_of(handle) as client, pytest.raises(ProtocolError):
        client.referrers("app", DIGEST)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
        for name in ("Content-Length", "Content-Range", "Link", "Location", "WWW-Authenticate", "Range")
    }
    | {
        "Content-Type": st.sampled_from([*media_types.ACCEPT_MANIFESTS, "text/html", ""]),
        "Docker-Content-Digest": st.sampled_from([str(DIGEST), "sha256:", "x"]),
    },
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["errors", "code", "tags", "repositories", "manifests", "schemaVersion", "config",
                     "layers", "mediaType", "digest", "size", "subject", "annotations", "platform", "urls"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip
STATUSES = st.sampled_from(
    [100, 200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 416, 429, 500, 503, 599]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_garbage_gives_our_errors_and_no_others(data: st.DataObject) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            data.draw(STATUSES), headers=data.draw(HEADERS), stream=httpx.ByteStream(data.draw(BODIES))
        )

    def read(client: RegistryClient) -> None:
        with client.open_blob("app", blob(b"content")) as stream:
            stream.read()

    calls: list[Callable[[RegistryClient], object]] = [
        lambda client: client.resolve("app", "v1"),
        lambda client: client.manifest("app", "v1"),
        lambda client: client.put_manifest("app", "v1", IMAGE, media_types.OCI_MANIFEST),
        lambda client: client.delete_manifest("app", DIGEST),
        lambda client: client.blob_size("app", DIGEST),
        lambda client: client.put_blob("app", blob(b"content"), b"content"),
        lambda client: list(itertools.islice(client.repositories(), 100)),
        lambda client: client.tags("app"),
        lambda client: client.referrers("app", DIGEST),
        read,
    ]
    with client_of(handle, NoisyCredentials()) as client, contextlib.suppress(RegistryError, OciError):
        data.draw(st.sampled_from(calls))(client)


class NoisyCredentials:
    """Has a password for everybody."""

    def credential(self, host: str, *, fresh: bool = False) -> Credential | None:
        return Credential("user", "secret")


def test_a_ping_asks_for_the_api_itself() -> None:
    seen, handle = answers(httpx.Response(200, json={}))
    with client_of(handle) as client:
        client.ping()
    assert [(request.method, request.url.path) for request in seen] == [("GET", "/v2/")]


def test_a_ping_tells_silence_from_refusal() -> None:
    with client_of(lambda _: httpx.Response(401)) as client, pytest.raises(UnauthorizedError):
        client.ping()
    with client_of(lambda _: httpx.Response(502)) as client, pytest.raises(RegistryUnavailableError):
        client.ping()
