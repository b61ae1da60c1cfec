"""Pushes images into a real registry over plain HTTP, with chosen bytes, also wrong ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx

from converter.oci import Digest
from tests.images.layout import Image


class Pusher:
    """A client of a registry that says exactly what it is told to.

    Args:
        url: of the registry.
        patience_s: how long a request is repeated while the registry is down or behind a gateway that is;
            None fails at once. Following redirects is part of a push: HEAD of a blob is answered with one.
    """

    def __init__(self, url: str, patience_s: float | None = None) -> None:
        self._http = httpx.Client(base_url=url, follow_redirects=True, timeout=30, trust_env=False)
        self._patience_s = patience_s

    def close(self) -> None:
        self._http.close()

    def push(self, repository: str, tag: str | None, image: Image) -> Digest:
        """Pushes blobs and manifest."""
        for digest, content in image.blobs.items():
            self.push_blob(repository, digest, content)
        return self.push_manifest(repository, tag, image.manifest.raw, image.manifest.media_type)

    def push_blob(self, repository: str, digest: Digest, content: bytes) -> None:
        """Pushes a blob, unless it is there; from the start if the registry was killed and forgot it."""
        path = f"/v2/{repository}/blobs"
        # A registry that was killed while it wrote the blob's link answers 400 until it is written again.
        while self._send("HEAD", f"{path}/{digest}", allowed=(200, 400, 404)).status_code != 200:
            started = self._send("POST", f"{path}/uploads/", allowed=(202,))
            url = httpx.URL(started.headers["Location"]).copy_add_param("digest", str(digest))
            if self._send("PUT", str(url), content=content, allowed=(201, 404)).status_code == 201:
                return

    def push_manifest(self, repository: str, tag: str | None, raw: bytes, media_type: str) -> Digest:
        """Pushes a manifest, under its digest where there is no tag."""
        digest = Digest.of(raw)
        path = f"/v2/{repository}/manifests/{tag or digest}"
        self._send("PUT", path, content=raw, headers={"Content-Type": media_type}, allowed=(201,))
        return digest

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository."""
        answer = self._send("GET", f"/v2/{repository}/tags/list", allowed=(200, 404))
        return sorted(answer.json().get("tags") or [])

    def get(self, path: str) -> httpx.Response:
        """Any GET; blobs come by way of the gateway."""
        return self._send("GET", path, allowed=(200, 404))

    def _send(
        self,
        method: str,
        path: str,
        *,
        allowed: tuple[int, ...],
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        deadline_s = time.monotonic() + (self._patience_s or 0)
        while True:
            try:
                answer = self._http.request(method, path, content=content, headers=headers)
                if answer.status_code in allowed:
                    return answer
                problem = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            except httpx.TransportError as error:
                problem = f"{method} {path}: {error}"
            if self._patience_s is None or time.monotonic() > deadline_s:
                raise AssertionError(problem)
            time.sleep(0.1)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str = "it") -> None:
    """Waits for a condition, and says what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.2)
