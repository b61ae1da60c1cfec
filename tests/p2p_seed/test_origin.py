from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from converter.oci import Digest
from p2p_seed.errors import OriginUrlError
from p2p_seed.origin import OriginUrls, check_origin_query, origin_path

DIGEST = Digest.of(b"blob")
SECRET = b"0123456789abcdef"
NOW = 1_800_000_000.5


def signed(now_s: float = NOW, secret: bytes | None = SECRET) -> OriginUrls:
    return OriginUrls("http://origin:5003", secret, 3600, lambda: now_s)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_the_url_names_the_blob_and_ends_with_its_signature() -> None:
    """Pinned: services and gateways of different versions must understand each other."""
    assert signed().url(DIGEST) == (
        f"http://origin:5003/v2/_/blobs/{DIGEST}?Expires=1800003600&Signature=8_YV5vIdsM_-Akc22uABg2UHpz0GgGXN1YBhc06E_jw"
    )
    assert signed().target(DIGEST) == signed().url(DIGEST).removeprefix("http://origin:5003")


def test_without_a_secret_there_is_no_query() -> None:
    assert signed(secret=None).url(DIGEST) == f"http://origin:5003{origin_path(DIGEST)}"
    assert signed(secret=None).query(DIGEST) == ""


def test_a_fresh_url_is_taken_and_others_parameters_are_ignored() -> None:
    query = query_of(signed().url(DIGEST))
    check_origin_query(DIGEST, query, SECRET, NOW)
    check_origin_query(DIGEST, {**query, "ns": "docker.io"}, SECRET, NOW + 3599)


@pytest.mark.parametrize("later_s", [3600, 10**6])
def test_an_expired_url_is_refused(later_s: int) -> None:
    with pytest.raises(OriginUrlError, match="expired"):
        check_origin_query(DIGEST, query_of(signed().url(DIGEST)), SECRET, NOW + later_s)


def test_each_url_is_good_for_a_whole_lifetime_of_its_own() -> None:
    assert query_of(signed(NOW + 10).url(DIGEST))["Expires"] == "1800003610"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Signature": ""}, "without a signature"),
        ({"Signature": "A" * 43}, "not made for it"),
        ({"Signature": "ünï"}, "not made for it"),
        ({"Expires": "1800009999"}, "not made for it"),
        ({"Expires": ""}, "without a time"),
        ({"Expires": "-1"}, "without a time"),
        ({"Expires": "١٢"}, "without a time"),
        ({"Expires": "9" * 5000}, "without a time"),
    ],
)
def test_an_altered_query_is_refused(change: dict[str, str], message: str) -> None:
    query = {**query_of(signed().url(DIGEST)), **change}
    with pytest.raises(OriginUrlError, match=message) as refusal:
        check_origin_query(DIGEST, query, SECRET, NOW)
    assert not query["Signature"] or query["Signature"] not in str(refusal.value)


def test_a_query_is_refused_for_another_blob_and_by_another_secret() -> None:
    query = query_of(signed().url(DIGEST))
    with pytest.raises(OriginUrlError):
        check_origin_query(Digest.of(b"other"), query, SECRET, NOW)
    with pytest.raises(OriginUrlError):
        check_origin_query(DIGEST, query, b"fedcba9876543210", NOW)
    with pytest.raises(OriginUrlError):
        check_origin_query(DIGEST, {}, SECRET, NOW)


@pytest.mark.parametrize(
    "base",
    [
        "origin:5003",
        "http://",
        "ftp://origin",
        "http://origin/v2",
        "http://origin?x=1",
        "http://u:p@origin",
        "",
    ],
)
def test_a_base_url_is_scheme_host_and_port(base: str) -> None:
    with pytest.raises(OriginUrlError):
        OriginUrls(base, SECRET, 3600, lambda: NOW)


def test_a_slash_at_the_end_of_the_base_url_is_no_matter() -> None:
    urls = OriginUrls("https://[::1]:5003/", SECRET, 3600, lambda: NOW)
    assert urls.base_url == "https://[::1]:5003"
    assert urls.url(DIGEST).startswith(f"https://[::1]:5003/v2/_/blobs/{DIGEST}?")


def test_an_empty_secret_or_a_lifetime_of_nothing_is_a_mistake() -> None:
    with pytest.raises(OriginUrlError, match="empty"):
        OriginUrls("http://origin", b"", 3600, lambda: NOW)
    with pytest.raises(OriginUrlError, match="more than 0"):
        OriginUrls("http://origin", SECRET, 0, lambda: NOW)


def test_the_query_needs_no_percent_encoding() -> None:
    for number in range(200):
        query = signed().query(Digest.of(bytes([number])))
        assert parse_qs(query, strict_parsing=True)["Signature"][0] in query
