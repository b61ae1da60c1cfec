"""The private origin: what peers fetch from."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from p2p_seed.origin import OriginUrls
from registry_hook.errors import SettingsError
from registry_hook.gateway.origin import OriginCheck, parse_origin_path
from registry_hook.gateway.redirect_checks import RedirectRefusedError
from registry_hook.gateway.server import serving
from tests.registry_hook.gateway.running import SETTINGS, ask, blob_path, directory_source, running, stored

CONTENT = random.Random(5).randbytes(3_000_000)
DIGEST = Digest.of(CONTENT)
OTHER = Digest.of(b"other")
SECRET = b"a secret of the origin"
PATH = f"/v2/_/blobs/{DIGEST}"


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Site:
    gateway: str
    origin: str
    metrics: str

    def figures(self) -> list[str]:
        return ask(self.metrics, "/metrics").body.decode().splitlines()


@contextlib.contextmanager
def origin(directory: Path, secret: bytes | None) -> Iterator[Site]:
    root, _ = stored(directory, CONTENT, b"other")
    port, metrics_port = free_port(), free_port()
    settings = replace(SETTINGS, origin_port=port, origin_secret=secret, metrics_port=metrics_port)
    with running([directory_source(root)], settings) as url:
        yield Site(url, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}")


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with origin(tmp_path_factory.mktemp("unsigned"), None) as site:
        yield site


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with origin(tmp_path_factory.mktemp("signed"), SECRET) as site:
        yield site


def target(digest: Digest = DIGEST, secret: bytes = SECRET, now_s: float | None = None) -> str:
    """Path and query of a URL that lives for a minute."""
    moment = time.time() if now_s is None else now_s
    base_url = "http://origin.example"
    return OriginUrls(base_url, secret, 60, lambda: moment).url(digest).removeprefix(base_url)


def test_a_blob_whole_in_parts_and_its_length(unsigned: Site) -> None:
    whole = ask(unsigned.origin, PATH)
    assert (whole.status, whole.body) == (200, CONTENT)
    # Peers take the length of a blob from the answer to this.
    probe = ask(unsigned.origin, PATH, Range="bytes=0-0")
    assert (probe.status, probe.body) == (206, CONTENT[:1])
    assert probe.headers["Content-Range"] == f"bytes 0-0/{len(CONTENT)}"
    part = ask(unsigned.origin, PATH, Range="bytes=1000000-1999999")
    assert (part.status, part.body) == (206, CONTENT[1_000_000:2_000_000])
    head = ask(unsigned.origin, PATH, "HEAD")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(CONTENT)), b"")


def test_without_a_secret_other_queries_do_not_matter(unsigned: Site) -> None:
    assert ask(unsigned.origin, f"{PATH}?ns=http%3A%2F%2Fx&Expires=1&Signature=x").status == 200


def test_the_ping_of_a_registrys_client(signed: Site) -> None:
    reply = ask(signed.origin, "/v2/")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert ask(signed.origin, "/v2/", "POST").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/_/blobs/",
        f"/v2/_/blobs/{DIGEST.hex}",
        f"/v2/_/blobs/sha256:{DIGEST.hex.upper()}",
        f"/v2/_/blobs/{DIGEST}/",
        f"/v2/_/blobs/{DIGEST}\n",
        f"/v2/_/blobs/sha256%3A{DIGEST.hex}",
        f"/v2/a/_/blobs/{DIGEST}",
        f"/v2/library/busybox/blobs/{DIGEST}",
        f"/v2/_/manifests/{DIGEST}",
        f"//v2/_/blobs/{DIGEST}",
        blob_path(DIGEST),
        "/metrics",
        "/healthz",
    ],
)
def test_nothing_else_is_there(unsigned: Site, path: str) -> None:
    assert parse_origin_path(path) is None
    if "\n" not in path:
        reply = ask(unsigned.origin, path)
        assert (reply.status, reply.body) == (404, b"")


def test_the_gateways_own_listener_has_no_origin(signed: Site) -> None:
    assert ask(signed.gateway, target()).status == 404
    assert ask(signed.gateway, "/v2/").status == 404


def test_writing_is_refused(unsigned: Site) -> None:
    assert ask(unsigned.origin, PATH, "DELETE").status == 405


@pytest.mark.parametrize("extra", ["", "&ns=http%3A%2F%2Forigin.example"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_signed_url(signed: Site, method: str, extra: str) -> None:
    assert ask(signed.origin, target() + extra, method).status == 200
    assert ask(signed.origin, target() + extra, method, Range="bytes=5-9").status == (
        206 if method == "GET" else 200
    )


def refused() -> dict[str, str]:
    """Targets that must not be served, by what is wrong with them."""
    good = target()
    path, _, query = good.partition("?")
    return {
        "unsigned": path,
        "empty query": f"{path}?",
        "no signature": f"{path}?{query.partition('&')[0]}",
        "no expiry": f"{path}?{query.partition('&')[2]}",
        "expired": target(now_s=time.time() - 61),
        "expiry altered": good.replace("Expires=", "Expires=1"),
        "signature altered": good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:],
        "signature cut": good[:-1],
        "of another blob": good.replace(DIGEST.hex, OTHER.hex),
        "by another key": target(secret=b"another secret"),
        "of a redirect": f"{path}?X-Amz-Signature={'0' * 64}",
        "too many parameters": good + "&a=b" * 100,
    }


@pytest.mark.parametrize("case", refused())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_validly_signed_is_refused(signed: Site, case: str, method: str) -> None:
    bad = refused()[case]
    with capture_logs() as logs:
        reply = ask(signed.origin, bad, method)
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (403, b"", "0")
    assert "ETag" not in reply.headers
    (entry,) = [entry for entry in logs if entry["event"] == "refused"]
    assert entry["reason"]
    signature = bad.partition("Signature=")[2].partition("&")[0]
    assert not signature or signature not in repr(logs)


def test_a_refusal_says_why_without_the_signature() -> None:
    signature = target().partition("Signature=")[2]
    with pytest.raises(RedirectRefusedError, match="expired") as caught:
        OriginCheck(SECRET).check("GET", target(now_s=0), "", 1e9)
    assert signature not in caught.value.reason
    with pytest.raises(RedirectRefusedError, match="no blob"):
        OriginCheck(SECRET).check("GET", target().replace("/_/", "/x/"), "", time.time())


def test_what_the_origin_sends_is_counted_apart(tmp_path: Path) -> None:
    with origin(tmp_path, SECRET) as site:
        ask(site.gateway, blob_path(OTHER))
        ask(site.origin, target(), Range="bytes=0-99")
        ask(site.origin, target(), Range="bytes=-1")
        ask(site.origin, PATH)
        figures = site.figures()
    assert 'dragonhook_origin_requests_total{method="GET",status="206"} 2.0' in figures
    assert 'dragonhook_origin_requests_total{method="GET",status="403"} 1.0' in figures
    assert 'dragonhook_origin_bytes_total{source="store"} 101.0' in figures
    assert 'dragonhook_gateway_bytes_total{source="store"} 5.0' in figures


def test_an_origin_that_everybody_could_read_is_not_started() -> None:
    async def start() -> None:
        settings = replace(SETTINGS, closed_network=False, origin_port=0)
        async with serving(settings, []):
            pass

    with pytest.raises(SettingsError, match=r"seeding\.origin_secret"):
        asyncio.run(start())
