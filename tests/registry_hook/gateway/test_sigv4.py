"""Presigned URLs: what other programs sign is accepted, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converter.oci import Digest
from registry_hook.gateway.redirect_checks import RedirectRefusedError
from registry_hook.gateway.sigv4 import SigV4Check, SigV4Key
from tests.registry_hook.gateway.running import blob_path
from tests.registry_hook.gateway.signing import SIGV4_KEY, presigned, target_of

NOW_S = 1_800_000_000.0
URL = f"http://gateway.example:8089{blob_path(Digest.of(b'x'), '/bucket/a/prefix/')}"
OTHER_URL = f"http://gateway.example:8089{blob_path(Digest.of(b'y'), '/bucket/a/prefix/')}"


def check(
    url: str, method: str = "GET", host: str | None = None, now_s: float = NOW_S, key: SigV4Key = SIGV4_KEY
) -> None:
    target, own_host = target_of(url)
    SigV4Check(key).check(method, target, own_host if host is None else host, now_s)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("now_s", [NOW_S - 900, NOW_S, NOW_S + 1199.9])
@pytest.mark.parametrize(
    "url",
    [
        URL,
        URL.replace("/bucket", "/b%20%C3%BC~"),
        URL.replace("gateway.example:8089", "[::1]:80"),
        URL.replace("http:", "https:").replace("8089", "443"),
        f"{URL}?response-content-type=text%2Fplain",
    ],
)
def test_a_url_that_botocore_signed(url: str, method: str, now_s: float) -> None:
    check(presigned(url, NOW_S, method), method, now_s=now_s)


def test_the_example_of_the_specification() -> None:
    # "Authenticating Requests: Using Query Parameters", Amazon S3 API reference.
    key = SigV4Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
    url = (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    check(url, now_s=1369353600, key=key)


def test_the_key_of_a_day_is_not_used_on_another() -> None:
    judge = SigV4Check(SIGV4_KEY)
    for now_s in (NOW_S, NOW_S + 86_400, NOW_S):
        judge.check("GET", *target_of(presigned(URL, now_s)), now_s)


def altered(url: str) -> str:
    """With another signature of the right form."""
    return url[:-1] + ("0" if url[-1] != "0" else "1")


GOOD = presigned(URL, NOW_S)
STRANGER = replace(SIGV4_KEY, secret_key="another secret")
WRONG = {
    "another path": GOOD.replace(Digest.of(b"x").hex, Digest.of(b"y").hex),
    "another bucket": GOOD.replace("/bucket/", "/bucket2/"),
    "altered": altered(GOOD),
    "another secret": presigned(URL, NOW_S, key=STRANGER),
    "a longer life": GOOD.replace("X-Amz-Expires=1200", "X-Amz-Expires=12000"),
    "a later date": GOOD.replace("00Z&", "01Z&"),
    "a parameter more": f"{GOOD}&response-content-type=text%2Fhtml",
    "a parameter less": presigned(f"{URL}?a=b", NOW_S).replace("a=b&", ""),
    "upper case": GOOD.rpartition("=")[0] + "=" + GOOD.rpartition("=")[2].upper(),
    "cut": GOOD[:-1],
    "empty": GOOD.rpartition("=")[0] + "=",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_signature_that_is_not_the_urls(case: str) -> None:
    assert WRONG[case] != GOOD
    with pytest.raises(RedirectRefusedError, match="the signature is wrong"):
        check(WRONG[case])


def test_a_url_is_good_for_its_method_and_host_only() -> None:
    for method, host in (("HEAD", None), ("GET", "gateway.example"), ("GET", "other.example:8089")):
        with pytest.raises(RedirectRefusedError, match="the signature is wrong"):
            check(GOOD, method, host)


@pytest.mark.parametrize(
    "key", [replace(SIGV4_KEY, access_key="other"), replace(SIGV4_KEY, region="eu-test-2")]
)
def test_the_scope_has_to_be_ours(key: SigV4Key) -> None:
    with pytest.raises(RedirectRefusedError, match="another access key, region or service"):
        check(presigned(URL, NOW_S, key=key))


def test_a_date_that_is_not_the_credentials() -> None:
    with pytest.raises(RedirectRefusedError, match="another access key, region or service"):
        check(GOOD.replace("X-Amz-Date=2027", "X-Amz-Date=2028"))


@pytest.mark.parametrize("now_s", [NOW_S + 1200, NOW_S + 1e9])
def test_an_expired_one(now_s: float) -> None:
    with pytest.raises(RedirectRefusedError, match="the signature has expired"):
        check(GOOD, now_s=now_s)


def test_one_from_the_future() -> None:
    with pytest.raises(RedirectRefusedError, match="compare the clocks"):
        check(GOOD, now_s=NOW_S - 901)


def test_one_that_would_live_too_long() -> None:
    check(presigned(URL, NOW_S, lifetime_s=604_800))
    with pytest.raises(RedirectRefusedError, match="longer than a week"):
        check(presigned(URL, NOW_S, lifetime_s=604_801))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        ("X-Amz-Expires=1200", "X-Amz-Expires=-1200"),
        ("X-Amz-Expires=1200", "X-Amz-Expires=01200"),
        ("X-Amz-Expires=1200", "X-Amz-Expires=1200000"),
        ("X-Amz-Expires=1200", "X-Amz-Expires="),
        ("X-Amz-Expires=1200", "X-Amz-Expires"),
        ("X-Amz-Date=", "X-Amz-Date=x"),
        ("X-Amz-Date=", "x-amz-date="),
        ("%2F", "/"),
        ("%2F", "%2f"),
        ("X-Amz-Algorithm", "X%2DAmz-Algorithm"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host&X-Amz-SignedHeaders=host"),
        ("&X-Amz-Signature", "&&X-Amz-Signature"),
        ("&X-Amz-Signature", "&a+b=c&X-Amz-Signature"),
        ("&X-Amz-Signature", "&a=%FF&X-Amz-Signature"),
        ("&X-Amz-Signature", "&a=\udcff&X-Amz-Signature"),
        ("&X-Amz-Signature", "&a=%zz&X-Amz-Signature"),
        ("&X-Amz-Signature", "".join(f"&a{n}=" for n in range(40)) + "&X-Amz-Signature"),
        ("&X-Amz-Signature", f"&a={'a' * 9000}&X-Amz-Signature"),
    ],
)
def test_a_query_that_no_signer_writes(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(RedirectRefusedError, match="malformed"):
        check(GOOD.replace(old, new))


@pytest.mark.parametrize("headers", ["", "host%3Brange", "range"])
def test_other_signed_headers(headers: str) -> None:
    with pytest.raises(RedirectRefusedError, match="other headers"):
        check(GOOD.replace("X-Amz-SignedHeaders=host", f"X-Amz-SignedHeaders={headers}"))


@pytest.mark.parametrize("host", ["", "a b", "a\nx-injected:1", "a:b", "user@host", "[::1", "a/b"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(RedirectRefusedError, match="Host header"):
        check(GOOD, host=host)


def test_a_day_that_does_not_exist() -> None:
    """Signed properly, so by the registry: it is refused all the same, and without an error of ours."""
    date = GOOD.partition("X-Amz-Date=")[2][:8]
    with pytest.raises(RedirectRefusedError):
        check(GOOD.replace(date, "20279999"))


def test_the_secret_is_not_shown() -> None:
    assert SIGV4_KEY.secret_key not in repr(SIGV4_KEY)
