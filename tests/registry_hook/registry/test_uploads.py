"""Uploads: pieces, broken connections, lost answers, registries that forget."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest

from converter.oci import Descriptor
from registry_hook.registry import (
    DeniedError,
    DigestMismatchError,
    NoCredentials,
    ProtocolError,
    RefusedError,
    RegistryEndpoint,
    RegistryUnavailableError,
    SizeMismatchError,
)
from registry_hook.registry.session import Session
from registry_hook.registry.uploads import BlobUpload
from tests.registry_hook.registry.fake import (
    PATIENT,
    URL,
    FakeRegistry,
    Fault,
    Wire,
    blob,
    broken,
    client_of,
    error,
    once,
)

CONTENT = random.Random(3).randbytes(1050)
RESET = httpx.ReadError("connection reset")


def upload(
    registry: FakeRegistry, source: bytes | Path = CONTENT, descriptor: Descriptor | None = None
) -> None:
    """Uploads in pieces of 100 bytes."""
    session = Session(RegistryEndpoint(URL), NoCredentials(), PATIENT, Wire(registry))
    BlobUpload(session, PATIENT, "app", descriptor or blob(CONTENT), source, piece_bytes=100).run()


def stored(registry: FakeRegistry) -> bytes | None:
    return registry.blobs.get(str(blob(CONTENT).digest))


def half_received(registry: FakeRegistry, method: str, kept: int, nth: int = 1) -> Fault:
    """A fault: of the nth request of a method the registry keeps some bytes, then the connection breaks."""
    count = [0]

    def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method != method:
            return None
        count[0] += 1
        if count[0] == nth:
            registry.uploads[request.url.path.rpartition("/")[2]] += request.content[:kept]
            raise httpx.WriteError("connection reset")
        return None

    return fault


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 1050])
def test_content_of_any_size_arrives(size: int, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT[:size])
    for source in (CONTENT[:size], path):
        registry = FakeRegistry()
        upload(registry, source, blob(CONTENT[:size]))
        assert list(registry.blobs.values()) == [CONTENT[:size]]


def test_requests_are_bounded_and_in_order() -> None:
    registry = FakeRegistry()
    upload(registry)
    assert registry.methods() == ["POST", *["PATCH"] * 10, "PUT"]
    assert max(len(request.content) for request in registry.requests) == 100
    ranges = [request.headers["Content-Range"] for request in registry.requests if request.method == "PATCH"]
    assert ranges[:2] == ["0-99", "100-199"]
    assert all("_state=a%3Db" in str(request.url) for request in registry.requests[1:])


@pytest.mark.parametrize("kept", [0, 1, 2, 60, 100])
@pytest.mark.parametrize(("method", "nth"), [("PATCH", 1), ("PATCH", 4), ("PUT", 1)])
def test_a_broken_upload_goes_on_where_it_was(kept: int, method: str, nth: int) -> None:
    registry = FakeRegistry()
    registry.faults.append(half_received(registry, method, min(kept, 50) if method == "PUT" else kept, nth))
    upload(registry)
    assert stored(registry) == CONTENT
    sent = sum(len(request.content) for request in registry.requests)
    # 0-0 is both "nothing" and "one byte" (registry.md): then, and only then, it may start again.
    assert sent <= len(CONTENT) + 100 + (1 if kept != 1 else 100)


def test_a_lost_answer_to_a_piece_sends_nothing_twice() -> None:
    registry = FakeRegistry()
    registry.faults.append(half_received(registry, "PATCH", 100, 3))
    upload(registry)
    assert sum(len(request.content) for request in registry.requests) == len(CONTENT)


def test_a_lost_answer_to_the_last_request_is_found_out() -> None:
    registry = FakeRegistry()

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PUT" and not stored(registry):
            registry.answer(request)
            raise RESET
        return None

    registry.faults.append(lose)
    upload(registry)
    assert registry.methods().count("POST") == 1


def test_a_registry_that_forgot_the_upload_gets_a_new_one() -> None:
    registry = FakeRegistry()

    def forget(request: httpx.Request) -> httpx.Response | None:
        is_middle = request.headers.get("Content-Range", "").startswith("500-")
        if is_middle and len(registry.uploads) == 1:
            registry.uploads["1"] = bytearray()
            registry.faults.append(once(error(404, "BLOB_UPLOAD_UNKNOWN"), "GET"))
            raise RESET
        return None

    registry.faults.append(forget)
    upload(registry)
    assert stored(registry) == CONTENT
    assert registry.methods().count("POST") == 2


def test_a_registry_that_always_forgets_is_given_up() -> None:
    registry = FakeRegistry()

    def forget(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PATCH" and request.headers["Content-Range"].startswith("500-"):
            registry.uploads.clear()
            raise RESET
        return None

    registry.faults.append(forget)
    with pytest.raises(RegistryUnavailableError):
        upload(registry)
    assert registry.methods().count("POST") == PATIENT.attempts


def test_a_registry_that_cancels_a_half_piece_gets_a_new_upload() -> None:
    """2.8.2 answers 400 to the question how far the upload got, and cancels it."""
    registry = FakeRegistry()
    registry.faults += [
        half_received(registry, "PATCH", 60, 3),
        once(error(400, "BLOB_UPLOAD_INVALID"), "GET"),
    ]
    upload(registry)
    assert stored(registry) == CONTENT
    assert registry.methods().count("POST") == 2


def test_a_status_of_0_0_means_what_was_acknowledged() -> None:
    """2.8.2 always says 0-0; between two pieces the upload goes on all the same."""
    registry = FakeRegistry()
    status = httpx.Response(204, headers={"Location": "/v2/app/blobs/uploads/1", "Range": "0-0"})
    registry.faults += [half_received(registry, "PATCH", 0, 6), once(status, "GET")]
    upload(registry)
    assert stored(registry) == CONTENT
    assert registry.methods().count("POST") == 1


def test_bytes_that_the_registry_has_twice_are_settled_by_a_new_upload() -> None:
    registry = FakeRegistry()

    def twice(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET":
            answer = registry.answer(request)
            registry.uploads["1"] += b"late"  # the broken request's bytes came in after the question
            return answer
        return None

    registry.faults += [half_received(registry, "PATCH", 0, 6), twice]
    upload(registry)
    assert stored(registry) == CONTENT


def test_breaks_are_bounded() -> None:
    registry = FakeRegistry()
    registry.faults += [broken(RESET, "PATCH") for _ in range(50)]
    with pytest.raises(RegistryUnavailableError):
        upload(registry)
    assert registry.methods().count("PATCH") == PATIENT.attempts


def test_a_refusal_is_final() -> None:
    registry = FakeRegistry(faults=[once(error(403, "DENIED"), "POST")])
    with pytest.raises(DeniedError):
        upload(registry)
    assert registry.methods() == ["POST"]
    registry = FakeRegistry(faults=[once(error(400, "SIZE_INVALID"), "PATCH")])
    with pytest.raises(RefusedError):
        upload(registry)
    assert registry.methods() == ["POST", "PATCH"]


def test_content_that_is_not_what_the_descriptor_says(tmp_path: Path) -> None:
    registry = FakeRegistry()
    with pytest.raises(DigestMismatchError):
        upload(registry, CONTENT[::-1])
    assert registry.methods().count("POST") == 1
    with pytest.raises(SizeMismatchError):
        upload(registry, CONTENT[:-1])
    assert registry.methods().count("POST") == 1
    assert registry.blobs == {}


def test_a_file_that_shrinks_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    registry = FakeRegistry()

    def shrink(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            path.write_bytes(CONTENT[:300])
            return registry.answer(request)
        return None

    registry.faults.append(shrink)
    with pytest.raises(SizeMismatchError):
        upload(registry, path)


@pytest.mark.parametrize(
    "location", [None, "https://evil.test/v2/app/blobs/uploads/1", "https://registry.test:444/x", "https://["]
)
def test_an_upload_elsewhere_is_refused(location: str | None) -> None:
    answer = httpx.Response(202, headers={"Location": location} if location else {})
    registry = FakeRegistry(faults=[once(answer, "POST")])
    with pytest.raises(ProtocolError):
        upload(registry)
    assert registry.methods() == ["POST"]


def test_a_location_with_another_scheme_stays_on_https() -> None:
    """A registry behind a proxy that ends TLS writes http:// into its addresses."""
    registry = FakeRegistry()

    def proxy(request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST":
            return None
        answer = registry.answer(request)
        answer.headers["Location"] = answer.headers["Location"].replace("https:", "http:")
        return answer

    registry.faults.append(proxy)
    upload(registry)
    assert {request.url.scheme for request in registry.requests} == {"https"}
    assert stored(registry) == CONTENT


def test_the_client_does_not_send_what_is_there() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        assert client.put_blob("app", blob(CONTENT), CONTENT) is True
        assert client.put_blob("app", blob(CONTENT), CONTENT) is False
        assert registry.methods() == ["HEAD", "POST", "PUT", "HEAD"]
        registry.blobs[str(blob(CONTENT).digest)] = CONTENT[:-1]
        with pytest.raises(SizeMismatchError, match="in the registry"):
            client.put_blob("app", blob(CONTENT), CONTENT)


def test_a_mount_spares_the_upload() -> None:
    registry = FakeRegistry(faults=[once(httpx.Response(201), "POST")])
    with client_of(registry) as client:
        assert client.put_blob("app", blob(CONTENT), CONTENT, mount_from="base") is True
    assert registry.methods() == ["HEAD", "POST"]
    assert dict(registry.requests[1].url.params) == {"mount": str(blob(CONTENT).digest), "from": "base"}


def test_a_mount_that_fails_becomes_an_upload() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        assert client.put_blob("app", blob(CONTENT), CONTENT, mount_from="base") is True
    assert stored(registry) == CONTENT
