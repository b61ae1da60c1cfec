"""What runs on a node: pulls one image as containerd does, or starts a program from a lazy mount of it.

`python -I -S node.py` reads its orders (JSON, one line) from standard input, prints `ready`, waits for
another line, works, and prints what it measured as JSON. Waiting makes all nodes start at the same moment,
with their interpreters loaded. It uses nothing but the standard library, so that 64 of them fit beside 64
peers.

A pull asks for the manifest by digest, then for config and layers side by side, follows redirects, and checks
length and SHA-256 of everything. It keeps nothing: unpacking is the same work in every mode.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

_PIECE_BYTES = 256 * 1024
_TIMEOUT_S = 900.0
_MAX_REDIRECTS = 10
_MOUNT_TIMEOUT_S = 300.0
_BOOTSTRAP_NAME = "image/image.boot"
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json"


class NodeError(Exception):
    """Something that was fetched is not what it has to be; the message says what."""


def fetch(url: str, digest: str, size: int | None, headers: dict[str, str], keep: bool = False) -> bytes:
    """Fetches content, follows redirects, and checks length and digest.

    Args:
        url: http only.
        digest: `sha256:` and 64 hexadecimal digits.
        size: length in bytes; None where only the digest is known.
        headers: of the request; as Go's client does, all of them go to redirect targets too.
        keep: return the content instead of nothing.

    Raises:
        NodeError: an answer that is no success, another length, or another digest.
    """
    for _ in range(_MAX_REDIRECTS):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT_S)
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.headers["Location"])
                continue
            if answer.status != 200:
                raise NodeError(f"{url}: {answer.status} {answer.read(300)!r}")
            return _read(answer, url, digest, size, keep)
        finally:
            connection.close()
    raise NodeError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _read(answer: http.client.HTTPResponse, url: str, digest: str, size: int | None, keep: bool) -> bytes:
    hasher, length, kept = hashlib.sha256(), 0, []
    while piece := answer.read(_PIECE_BYTES):
        hasher.update(piece)
        length += len(piece)
        if keep:
            kept.append(piece)
    if size is not None and length != size:
        raise NodeError(f"{url}: {length} bytes instead of {size}")
    if f"sha256:{hasher.hexdigest()}" != digest:
        raise NodeError(f"{url}: the content is sha256:{hasher.hexdigest()}")
    return b"".join(kept)


def fetch_all(requests: list[tuple[str, str, int]], headers: dict[str, str]) -> None:
    """Fetches several (URL, digest, size) side by side, each in a thread.

    Raises:
        NodeError: the first failure.
    """
    failures: list[Exception] = []

    def one(url: str, digest: str, size: int) -> None:
        try:
            fetch(url, digest, size, headers)
        except (NodeError, OSError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=request) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise NodeError(str(failures[0])) from failures[0]


def manifest_of(orders: dict[str, Any]) -> dict[str, Any]:
    """The image's manifest, from the registry that the orders name."""
    url = f"{orders['registry']}/v2/{orders['repository']}/manifests/{orders['manifest']}"
    headers = orders["headers"] | {"Accept": _MANIFESTS}
    manifest: dict[str, Any] = json.loads(fetch(url, orders["manifest"], None, headers, keep=True))
    return manifest


def pull(orders: dict[str, Any]) -> None:
    """Fetches config and layers of the image, all at once."""
    manifest = manifest_of(orders)
    fetch_all(
        [
            (f"{orders['blobs']}{blob['digest']}", blob["digest"], blob["size"])
            for blob in (manifest["config"], *manifest["layers"])
        ],
        orders["headers"],
    )


def run_lazily(orders: dict[str, Any]) -> None:
    """Fetches the bootstrap, mounts the image with nydusd, and runs a program from the mount.

    Raises:
        NodeError: no mount, or the program did not print what it should.
    """
    work = Path(orders["work"])
    *_, layer = manifest_of(orders)["layers"]
    content = fetch(
        f"{orders['blobs']}{layer['digest']}", layer["digest"], layer["size"], orders["headers"], True
    )
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        member = archive.extractfile(_BOOTSTRAP_NAME)
        if member is None:
            raise NodeError(f"{_BOOTSTRAP_NAME} is not a file")
        (work / "image.boot").write_bytes(member.read())
    for name in ("mnt", "cache"):
        (work / name).mkdir()
    (work / "nydusd.json").write_text(json.dumps(orders["nydusd_config"]))
    with (work / "nydusd.log").open("wb") as log:
        nydusd = subprocess.Popen(
            orders["nydusd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=work
        )  # fmt: skip
    try:
        _run_in(work / "mnt", nydusd, orders)
    finally:
        nydusd.terminate()
        nydusd.wait()


def _run_in(mountpoint: Path, nydusd: subprocess.Popen[bytes], orders: dict[str, Any]) -> None:
    deadline = time.monotonic() + _MOUNT_TIMEOUT_S
    while not os.path.ismount(mountpoint):
        if nydusd.poll() is not None or time.monotonic() > deadline:
            raise NodeError("nydusd did not mount; see nydusd.log")
        time.sleep(0.01)
    done = subprocess.run(
        [word.replace("{root}", str(mountpoint)) for word in orders["program"]],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if orders["output"] not in done.stdout:
        raise NodeError(f"the program printed {done.stdout[-300:]!r} and {done.stderr[-300:]!r}")


def main() -> int:
    """Reads orders, waits for the start, works, reports."""
    orders = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    sys.stdin.readline()
    started_s = time.monotonic()
    try:
        run_lazily(orders) if "nydusd" in orders else pull(orders)
    except (NodeError, OSError, http.client.HTTPException, ValueError, KeyError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    print(json.dumps({"seconds": time.monotonic() - started_s}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
