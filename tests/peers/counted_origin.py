"""An origin for peers, in this process: serves blobs as the private origin does, and counts what it sends.

Its paths, ranges and signed URLs are those of the real origin (`p2p_seed.origin`). Unlike that one it can be
told to serve wrong bytes or to refuse, and every request is on record: "the peers asked it for nothing but
one-byte probes" is what many tests want to know.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from converter.oci import Descriptor, Digest
from p2p_seed.errors import OriginUrlError
from p2p_seed.origin import OriginUrls, check_origin_query, origin_path
from tests.peers.server import LOOPBACK, free_port

_BLOB = re.compile(r"/v2/[^?]*/blobs/(sha256:[0-9a-f]{64})")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """One request as it came, and how many bytes of the blob went back."""

    method: str
    digest: str
    range: str | None
    status: int
    sent_bytes: int


class CountedOrigin:
    """Holds blobs in memory and serves them on a loopback port.

    Args:
        secret: URLs have to be signed with it, as at the real origin; without one they are not looked at.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self.secret = secret
        self.requests: list[OriginRequest] = []
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def urls(self, lifetime_s: int = 3600) -> OriginUrls:
        """What makes the URLs that this origin accepts."""
        return OriginUrls(self.url, self.secret, lifetime_s, time.time)

    def url_of(self, digest: Digest) -> str:
        """The URL of a blob without a signature: what peers that leave it out name a task by."""
        return self.url + origin_path(digest)

    def add(self, content: bytes) -> Descriptor:
        """Serves `content` under its digest."""
        digest = Digest.of(content)
        self._blobs[str(digest)] = content
        return Descriptor("application/octet-stream", digest, len(content))

    def replace(self, digest: Digest, content: bytes) -> None:
        """Serves `content`, whatever its digest is, under `digest`: what a broken origin would do."""
        self._blobs[str(digest)] = content

    def remove(self, digest: Digest) -> None:
        """Answers 404 for `digest` from now on."""
        del self._blobs[str(digest)]

    def blob(self, digest: str) -> bytes | None:
        """What is served under `digest`."""
        return self._blobs.get(digest)

    def record(self, request: OriginRequest) -> None:
        """Keeps a request."""
        with self._lock:
            self.requests.append(request)

    def sent_bytes(self, digest: Digest | None = None) -> int:
        """How many bytes of one blob, or of all, have been sent so far."""
        with self._lock:
            return sum(
                request.sent_bytes
                for request in self.requests
                if digest is None or request.digest == str(digest)
            )

    @contextmanager
    def serving(self) -> Iterator[CountedOrigin]:
        """Serves until the block ends."""
        handler = type("Handler", (_Handler,), {"origin": self})
        server = ThreadingHTTPServer((LOOPBACK, self.port), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: ClassVar[CountedOrigin]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        target = urlsplit(self.path)
        found = _BLOB.fullmatch(target.path)
        digest = found[1] if found else ""
        content = self.origin.blob(digest)
        if content is None:
            self._refuse(digest, HTTPStatus.NOT_FOUND)
            return
        if self.origin.secret is not None:
            try:
                check_origin_query(
                    Digest.parse(digest), dict(parse_qsl(target.query)), self.origin.secret, time.time()
                )
            except OriginUrlError:
                self._refuse(digest, HTTPStatus.FORBIDDEN)
                return
        start, end = 0, len(content)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            end = min(end, int(asked[2]) + 1) if asked[2] else end
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        sent = 0
        try:
            if with_body:
                for offset in range(start, end, 1 << 16):
                    sent += self.wfile.write(content[offset : min(end, offset + (1 << 16))])
        except ConnectionError:
            self.close_connection = True
        finally:
            self._record(digest, HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, sent)

    def _refuse(self, digest: str, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self._record(digest, status, 0)

    def _record(self, digest: str, status: HTTPStatus, sent: int) -> None:
        self.origin.record(OriginRequest(self.command, digest, self.headers.get("Range"), int(status), sent))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (of the interface)
        pass
