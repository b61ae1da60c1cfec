"""A registry in memory that speaks the distribution protocol as Distribution does, and can be broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from converter.oci import Descriptor, Digest, encode_json, media_types
from registry_hook.registry import CredentialSource, RegistryClient, RegistryEndpoint, RetryPolicy

URL = "https://registry.test"
PATIENT = RetryPolicy(attempts=4, sleep=lambda _: None)

Handler = Callable[[httpx.Request], httpx.Response]
Fault = Callable[[httpx.Request], httpx.Response | None]


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces, and may break off with an error after them."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._error is not None:
            raise self._error


@dataclass
class FakeRegistry:
    """Keeps blobs, manifests and tags of all repositories, and every request it got.

    `faults` are asked first, the oldest first: one that gives an answer for a request is used up by it.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # by repository:reference
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for fault in self.faults:
            answer = fault(request)
            if answer is not None:
                self.faults.remove(fault)
                return answer
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v2/")
        routes: list[tuple[str, Callable[[httpx.Request, re.Match[str]], httpx.Response]]] = [
            (r"(?P<repository>.+)/manifests/(?P<reference>[^/]+)", self._manifest),
            (r"(?P<repository>.+)/blobs/uploads/(?P<upload>[^/]*)", self._upload),
            (r"(?P<repository>.+)/blobs/(?P<digest>[^/]+)", self._blob),
        ]
        for pattern, handler in routes:
            if match := re.fullmatch(pattern, path):
                return handler(request, match)
        return error(404, "404 page not found")

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def _manifest(self, request: httpx.Request, match: re.Match[str]) -> httpx.Response:
        key = f"{match['repository']}:{match['reference']}"
        if request.method == "PUT":
            digest = Digest.of(request.content)
            self.manifests[key] = (request.headers["Content-Type"], request.content)
            self.manifests[f"{match['repository']}:{digest}"] = self.manifests[key]
            return httpx.Response(201, headers={"Docker-Content-Digest": str(digest)})
        if request.method == "DELETE":
            return httpx.Response(202 if self.manifests.pop(key, None) else 404)
        if key not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        media_type, raw = self.manifests[key]
        if media_type not in request.headers["Accept"]:
            return error(404, "MANIFEST_UNKNOWN")
        headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(raw))}
        headers["Content-Length"] = str(len(raw))
        return httpx.Response(200, headers=headers, content=raw if request.method == "GET" else None)

    def _blob(self, request: httpx.Request, match: re.Match[str]) -> httpx.Response:
        content = self.blobs.get(match["digest"])
        if content is None:
            return error(404, "BLOB_UNKNOWN")
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Content-Length": str(len(content))})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if wanted is None:
            return httpx.Response(200, content=content)
        start = int(wanted[1])
        if start >= len(content):
            return httpx.Response(416, headers={"Content-Range": f"bytes */{len(content)}"})
        end = min(int(wanted[2]) + 1 if wanted[2] else len(content), len(content))
        content_range = f"bytes {start}-{end - 1}/{len(content)}"
        return httpx.Response(206, headers={"Content-Range": content_range}, content=content[start:end])

    def _upload(self, request: httpx.Request, match: re.Match[str]) -> httpx.Response:
        name = match["upload"]
        if request.method == "POST":
            name = str(len(self.uploads) + 1)
            self.uploads[name] = bytearray()
            return self._progress(202, match["repository"], name)
        data = self.uploads.get(name)
        if data is None:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "GET":
            return self._progress(204, match["repository"], name)
        if request.method == "PATCH":
            if int(request.headers["Content-Range"].partition("-")[0]) != len(data):
                return error(416, "RANGE_INVALID")
            data += request.content
            return self._progress(202, match["repository"], name)
        data += request.content
        del self.uploads[name]
        if str(Digest.of(bytes(data))) != request.url.params["digest"]:
            return error(400, "DIGEST_INVALID")
        self.blobs[request.url.params["digest"]] = bytes(data)
        return httpx.Response(201)

    def _progress(self, status: int, repository: str, name: str) -> httpx.Response:
        location = f"{URL}/v2/{repository}/blobs/uploads/{name}?_state=a%3Db"
        last = max(0, len(self.uploads[name]) - 1)
        return httpx.Response(status, headers={"Location": location, "Range": f"0-{last}"})


class Wire(httpx.BaseTransport):
    """Hands requests to a function, and its answers over as they come from a socket: unread."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        answer = self._handler(request)
        if not answer.is_closed:
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Pieces([answer.content]))


def error(status: int, code: str) -> httpx.Response:
    """An error answer as Distribution writes it."""
    return httpx.Response(status, json={"errors": [{"code": code, "message": code.lower()}]})


def once(answer: httpx.Response, method: str = "") -> Fault:
    """A fault: an answer for the next request of a method."""
    return lambda request: answer if method in ("", request.method) else None


def broken(problem: Exception, method: str = "") -> Fault:
    """A fault: no answer but an exception for the next request of a method."""
    used: list[bool] = []

    def fault(request: httpx.Request) -> httpx.Response | None:
        if used or method not in ("", request.method):
            return None
        used.append(True)
        raise problem

    return fault


def client_of(
    handler: Handler,
    credentials: CredentialSource | None = None,
    retry: RetryPolicy = PATIENT,
    endpoint: RegistryEndpoint | None = None,
) -> RegistryClient:
    """A client whose requests go to `handler`."""
    return RegistryClient(endpoint or RegistryEndpoint(URL), credentials, retry, transport=Wire(handler))


def blob(content: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    """The descriptor of some content."""
    return Descriptor(media_type, Digest.of(content), len(content))


def image_bytes(annotation: str = "") -> bytes:
    """A small manifest."""
    config = blob(b"{}", media_types.OCI_EMPTY)
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [],
            "annotations": {"n": annotation},
        }
    )


def index_bytes(*children: Descriptor) -> bytes:
    """An index."""
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [child.to_json() for child in children],
        }
    )


def json_page(document: object, link: str | None = None) -> httpx.Response:
    """A page of a list."""
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    return httpx.Response(200, headers=headers, content=json.dumps(document).encode())
