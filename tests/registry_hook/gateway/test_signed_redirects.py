"""Redirects that are signed, at a running gateway: what is refused gets 403 and leaves no secret in the log.

`test_signed_peers.py` does the same with URLs that real registries have signed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from converter.oci import Digest
from registry_hook.errors import SettingsError
from registry_hook.gateway.access import check_access, redirect_check
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.gateway.settings import GatewaySettings
from tests.registry_hook.gateway.running import (
    SETTINGS,
    Reply,
    ask,
    blob_path,
    directory_source,
    running,
    stored,
)
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, SIGV4_KEY, CloudFrontKeys, presigned

CONTENT = b"what only those may read whom the registry sends"
DIGEST = Digest.of(CONTENT)
OTHER = Digest.of(b"other")
PATH = blob_path(DIGEST, "/bucket/prefix/")

Sign = Callable[[str, str, float], str]


@dataclass
class Signer:
    """One way to sign: `sign(url, method, now_s)` gives a URL that is good for 20 minutes."""

    sign: Sign
    sign_by_another_key: Sign


@dataclass
class Site:
    """A gateway, and how its redirects are signed."""

    url: str
    signer: Signer

    def good(self, method: str, path: str = PATH, age_s: float = 0) -> str:
        return self._target(self.signer.sign, method, path, age_s)

    def by_another_key(self, method: str) -> str:
        return self._target(self.signer.sign_by_another_key, method, PATH, 0)

    def _target(self, sign: Sign, method: str, path: str, age_s: float) -> str:
        return sign(self.url + path, method, time.time() - age_s).removeprefix(self.url)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> CloudFrontKeys:
    return CloudFrontKeys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def settings(keys: CloudFrontKeys) -> GatewaySettings:
    key = CloudFrontKey(KEY_PAIR_ID, keys.public_key_file)
    return replace(SETTINGS, closed_network=False, sigv4=SIGV4_KEY, cloudfront=key)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found, _ = stored(tmp_path_factory.mktemp("gateway"), CONTENT, b"other")
    return found


@pytest.fixture(scope="module", params=["sigv4", "cloudfront"])
def signer(
    request: pytest.FixtureRequest, keys: CloudFrontKeys, tmp_path_factory: pytest.TempPathFactory
) -> Signer:
    if request.param == "sigv4":
        stranger = replace(SIGV4_KEY, secret_key="another secret")
        return Signer(
            lambda url, method, now_s: presigned(url, now_s, method),
            lambda url, method, now_s: presigned(url, now_s, method, stranger),
        )
    strangers = CloudFrontKeys(tmp_path_factory.mktemp("strangers"))
    return Signer(
        lambda url, _, now_s: keys.signed(url, now_s + 1200),
        lambda url, _, now_s: strangers.signed(url, now_s + 1200),
    )


@pytest.fixture(scope="module")
def site(settings: GatewaySettings, root: Path, signer: Signer) -> Iterator[Site]:
    with running([directory_source(root)], settings) as url:
        yield Site(url, signer)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_signed_redirect(site: Site, method: str) -> None:
    reply = ask(site.url, site.good(method), method)
    assert (reply.status, reply.body) == (200, CONTENT if method == "GET" else b"")
    assert reply.headers["Content-Length"] == str(len(CONTENT))
    # A client of a lazy image asks for many parts with one signature.
    for start in range(3):
        part = ask(site.url, site.good("GET"), Range=f"bytes={start}-9")
        assert (part.status, part.body) == (206, CONTENT[start:10])


def refused(site: Site, method: str) -> dict[str, str]:
    """Targets that must not be served, by what is wrong with them."""
    good = site.good(method)
    path, _, query = good.partition("?")
    # The last character of a base64 signature may hold bits that say nothing.
    place = good.index("Signature=") + 20
    return {
        "unsigned": path,
        "empty query": f"{path}?",
        "expired": site.good(method, age_s=1201),
        "altered": good[:place] + ("1" if good[place] != "1" else "2") + good[place + 1 :],
        "cut": good[: place + 5],
        "for another blob": good.replace(DIGEST.hex, OTHER.hex).replace(
            f"/{DIGEST.hex[:2]}/", f"/{OTHER.hex[:2]}/"
        ),
        "for another prefix": good.replace("/bucket/prefix/", "/bucket/other/"),
        "by another key": site.by_another_key(method),
        "twice": f"{path}?{query}&{query}",
        "for the origin": f"{path}?Expires=9999999999&Signature=AAAA",
    }


CASES = (
    "unsigned", "empty query", "expired", "altered", "cut", "for another blob", "for another prefix",
    "by another key", "twice", "for the origin",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_validly_signed_is_refused(site: Site, method: str, case: str) -> None:
    target = refused(site, method)[case]
    with capture_logs() as logs:
        reply = ask(
            site.url, target, method, Range="bytes=0-9", Authorization="Bearer a-token-of-the-registry"
        )
    assert_refused(reply)
    (entry,) = [entry for entry in logs if entry["event"] == "refused"]
    assert entry["reason"]
    told = repr(logs)
    for secret in (SIGV4_KEY.secret_key, "a-token-of-the-registry", *secrets_of(target)):
        assert secret not in told


def secrets_of(target: str) -> list[str]:
    """What a query holds that would let others in."""
    values = [item.partition("=") for item in target.partition("?")[2].split("&")]
    return [value for name, _, value in values if name.endswith("Signature") and value] + [
        item for item in [target.partition("?")[2]] if item
    ]


def assert_refused(reply: Reply) -> None:
    assert (reply.status, reply.body) == (403, b"")
    reply.headers.pop("Date")  # type: ignore[attr-defined]  # a dict in fact
    # Nothing about the blob either: not that it exists, nor its length.
    assert reply.headers == {"Server": "dragonhook", "Content-Length": "0", "Cache-Control": "no-store"}


def test_a_signature_for_another_host_is_refused(site: Site) -> None:
    target = site.good("GET")
    assert_refused(ask(site.url, target, Host="other.example"))


def test_a_url_of_s3_is_bound_to_its_method_and_one_of_cloudfront_is_not(
    settings: GatewaySettings, root: Path, signer: Signer
) -> None:
    with running([directory_source(root)], settings) as url:
        site = Site(url, signer)
        target = site.good("GET")
        status = ask(url, target, "HEAD").status
    assert status == (403 if "X-Amz-" in target else 200)


def test_what_is_missing_is_refused_alike(site: Site) -> None:
    path = blob_path(Digest.of(b"nowhere"), "/bucket/prefix/")
    assert_refused(ask(site.url, path))
    assert ask(site.url, site.good("GET", path)).status == 404


def test_with_a_key_the_gateway_is_ready(site: Site) -> None:
    assert ask(site.url, "/readyz").status == 200


def test_a_closed_network_lets_in_what_is_not_signed_but_nothing_signed_wrongly(
    settings: GatewaySettings, root: Path, signer: Signer
) -> None:
    with running([directory_source(root)], replace(settings, closed_network=True)) as url:
        site = Site(url, signer)
        assert ask(url, PATH).status == 200
        assert ask(url, site.good("GET")).status == 200
        for case in ("expired", "altered", "by another key", "for another blob"):
            assert_refused(ask(url, refused(site, "GET")[case]))


def test_a_closed_network_without_keys_does_not_look_at_signatures(root: Path, signer: Signer) -> None:
    with running([directory_source(root)], SETTINGS) as url:
        assert ask(url, Site(url, signer).by_another_key("GET")).status == 200


def test_the_settings_do_not_show_secrets(settings: GatewaySettings) -> None:
    told = repr(replace(settings, origin_secret=b"the secret of the origin"))
    assert SIGV4_KEY.secret_key not in told
    assert "the secret" not in told


def test_a_missing_key_file_is_found_before_anything_is_started(tmp_path: Path) -> None:
    key = CloudFrontKey(KEY_PAIR_ID, tmp_path / "nowhere.pem")
    for start in (redirect_check, check_access):
        with pytest.raises(SettingsError, match=r"nowhere\.pem"):
            start(replace(SETTINGS, cloudfront=key))
