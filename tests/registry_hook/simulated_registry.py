"""A registry in memory behind the real client: what Distribution answers, without sockets.

It behaves as Distribution does where that matters here: no referrers API, no OCI-Subject, no If-Match,
digests checked on upload, 404 for a repository that never had a manifest.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from converter.oci import Digest
from registry_hook.registry import RegistryClient, RegistryEndpoint, RetryPolicy

_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/")
_UPLOAD = re.compile(r"/v2/(.+)/uploaded/([0-9a-f-]+)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")


@dataclass
class Stored:
    raw: bytes
    media_type: str


@dataclass
class SimulatedRegistry(httpx.BaseTransport):
    """Implements the transport of httpx.

    Args:
        before: called with method and path before each request is answered; may change the content or raise.
        down: answers nothing while it is set.
        refused: paths that are answered with 403.
    """

    manifests: dict[tuple[str, str], Stored] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    down: bool = False
    refused: set[str] = field(default_factory=set)

    def client(self) -> RegistryClient:
        """The real client, speaking to this registry; it does not wait between attempts."""
        policy = RetryPolicy(attempts=2, sleep=lambda seconds: None)
        return RegistryClient(RegistryEndpoint("http://registry.test:5000"), retry=policy, transport=self)

    def push(self, repository: str, tag: str | None, raw: bytes, media_type: str) -> Digest:
        """Stores a manifest, as a user's push does in the end."""
        digest = Digest.of(raw)
        self.manifests[repository, str(digest)] = Stored(raw, media_type)
        if tag is not None:
            self.tags[repository, tag] = str(digest)
        return digest

    def snapshot(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]], dict[tuple[str, str], str]]:
        """Everything that is stored, to compare."""
        return set(self.manifests), set(self.blobs), dict(self.tags)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.log.append((request.method, path))
        self.before(request.method, path)
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        if path in self.refused:
            return httpx.Response(403, stream=_json({"errors": [{"code": "DENIED"}]}))
        return self._answer(request, path)

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        if path == "/v2/_catalog":
            names = sorted({repository for repository, _ in self.manifests})
            return httpx.Response(200, stream=_json({"repositories": names}))
        if match := _TAGS.fullmatch(path):
            found = sorted(tag for repository, tag in self.tags if repository == match[1])
            known = any(repository == match[1] for repository, _ in self.manifests)
            return (
                httpx.Response(200, stream=_json({"tags": found or None}))
                if known
                else _missing("NAME_UNKNOWN")
            )
        if match := _MANIFEST.fullmatch(path):
            return self._manifest(request, match[1], match[2])
        if match := _UPLOADS.fullmatch(path):
            upload = str(uuid.uuid4())
            self.uploads[upload] = b""
            return httpx.Response(
                202, headers={"Location": f"/v2/{match[1]}/uploaded/{upload}"}, stream=_json({})
            )
        if match := _UPLOAD.fullmatch(path):
            return self._upload(request, match[1], match[2])
        if match := _BLOB.fullmatch(path):
            return self._blob(request, match[1], match[2])
        return _missing("UNSUPPORTED")

    def _manifest(self, request: httpx.Request, repository: str, reference: str) -> httpx.Response:
        if request.method == "PUT":
            raw = request.read()
            document = json.loads(raw)
            for blob in [
                *document.get("layers", []),
                *([document["config"]] if "config" in document else []),
            ]:
                if (repository, blob["digest"]) not in self.blobs:
                    return _refused("MANIFEST_BLOB_UNKNOWN")
            for child in document.get("manifests", []):
                if (repository, child["digest"]) not in self.manifests:
                    return _refused("MANIFEST_BLOB_UNKNOWN")
            digest = self.push(repository, None, raw, request.headers["Content-Type"])
            if not reference.startswith("sha256:"):
                self.tags[repository, reference] = str(digest)
            return httpx.Response(201, headers={"Docker-Content-Digest": str(digest)}, stream=_json({}))
        name = reference if reference.startswith("sha256:") else self.tags.get((repository, reference), "")
        stored = self.manifests.get((repository, name))
        if stored is None:
            return _missing("MANIFEST_UNKNOWN")
        headers = {
            "Content-Type": stored.media_type, "Docker-Content-Digest": name,
            "Content-Length": str(len(stored.raw)),
        }  # fmt: skip
        return httpx.Response(200, headers=headers, stream=_body(request, stored.raw))

    def _upload(self, request: httpx.Request, repository: str, upload: str) -> httpx.Response:
        if request.method == "GET":
            return _missing("BLOB_UPLOAD_UNKNOWN")
        content = self.uploads[upload] + request.read()
        if request.method == "PATCH":
            self.uploads[upload] = content
            return httpx.Response(202, headers={"Location": request.url.path}, stream=_json({}))
        digest = request.url.params["digest"]
        if str(Digest.of(content)) != digest:
            return _refused("DIGEST_INVALID")
        self.blobs[repository, digest] = content
        return httpx.Response(201, stream=_json({}))

    def _blob(self, request: httpx.Request, repository: str, digest: str) -> httpx.Response:
        content = self.blobs.get((repository, digest))
        if content is None:
            return _missing("BLOB_UNKNOWN")
        headers = {"Content-Length": str(len(content)), "Docker-Content-Digest": digest}
        return httpx.Response(200, headers=headers, stream=_body(request, content))


def _body(request: httpx.Request, content: bytes) -> httpx.ByteStream:
    # Streams, as a socket gives them: a response that is made with its content cannot be read raw.
    return httpx.ByteStream(b"" if request.method == "HEAD" else content)


def _json(value: object) -> httpx.ByteStream:
    return httpx.ByteStream(json.dumps(value).encode())


def _missing(code: str) -> httpx.Response:
    return httpx.Response(404, stream=_json({"errors": [{"code": code, "message": "not found"}]}))


def _refused(code: str) -> httpx.Response:
    return httpx.Response(400, stream=_json({"errors": [{"code": code, "message": "refused"}]}))
