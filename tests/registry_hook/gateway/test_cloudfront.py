"""Signed URLs of the `cloudfront` middleware: what other programs sign is accepted, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from converter.oci import Digest
from registry_hook.errors import SettingsError
from registry_hook.gateway.cloudfront import CloudFrontCheck, CloudFrontKey
from registry_hook.gateway.redirect_checks import RedirectRefusedError
from tests.registry_hook.gateway.running import blob_path
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, CloudFrontKeys, target_of

NOW_S = 1_800_000_000
URL = f"http://gateway.example:8089{blob_path(Digest.of(b'x'), '/a/prefix/')}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> CloudFrontKeys:
    return CloudFrontKeys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def check(keys: CloudFrontKeys) -> CloudFrontCheck:
    return CloudFrontCheck(CloudFrontKey(KEY_PAIR_ID, keys.public_key_file))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "url", [URL, URL.replace("http:", "https:"), URL.replace("/a/", "/%20/"), URL.replace("8089", "80")]
)
def test_a_url_that_botocore_signed(
    keys: CloudFrontKeys, check: CloudFrontCheck, url: str, method: str
) -> None:
    target, host = target_of(keys.signed(url, NOW_S + 1200))
    check.check(method, target, host, NOW_S)
    check.check(method, target, host, NOW_S + 1199.9)


@pytest.mark.parametrize("now_s", [NOW_S + 1200, 1e12])
def test_an_expired_one(keys: CloudFrontKeys, check: CloudFrontCheck, now_s: float) -> None:
    with pytest.raises(RedirectRefusedError, match="the signature has expired"):
        check.check("GET", *target_of(keys.signed(URL, NOW_S + 1200)), now_s)


def test_a_signature_that_is_not_the_urls(
    keys: CloudFrontKeys, check: CloudFrontCheck, tmp_path: Path
) -> None:
    good = keys.signed(URL, NOW_S + 1200)
    signature = good.partition("Signature=")[2].partition("&")[0]
    turned = signature[:-10] + ("A" if signature[-10] != "A" else "B") + signature[-9:]
    for bad in (
        good.replace(Digest.of(b"x").hex, Digest.of(b"y").hex),
        good.replace("/a/", "/b/"),
        good.replace("gateway.example", "other.example"),
        good.replace(f"Expires={NOW_S + 1200}", f"Expires={NOW_S + 1201}"),
        good.replace(signature, turned),
        good.replace(signature, "AAAA"),
        CloudFrontKeys(tmp_path).signed(URL, NOW_S + 1200),
    ):
        assert bad != good
        with pytest.raises(RedirectRefusedError, match="the signature is wrong"):
            check.check("GET", *target_of(bad), NOW_S)


def test_another_key_pair(keys: CloudFrontKeys, check: CloudFrontCheck) -> None:
    with pytest.raises(RedirectRefusedError, match="another key pair"):
        check.check("GET", *target_of(keys.signed(URL, NOW_S + 1200, "KEYPAIR2")), NOW_S)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Expires=", "Expires=0"),
        ("Expires=", "Expires=-"),
        ("Expires=", "Expires=%201"),
        ("Expires=", "Expires=1&Expires="),
        ("Signature=", "Signature=%2B"),
        ("Signature=", "Signature=_"),
        ("Signature=", "Signature=A"),
        ("&Key-Pair-Id", "&x=y&Key-Pair-Id"),
        ("Expires=1", "Policy=eyJ&Expires=1"),
        ("Expires=", "expires="),
    ],
)
def test_a_query_that_no_registry_writes(
    keys: CloudFrontKeys, check: CloudFrontCheck, old: str, new: str
) -> None:
    good = keys.signed(URL, NOW_S + 1200)
    assert old in good
    with pytest.raises(RedirectRefusedError, match="malformed"):
        check.check("GET", *target_of(good.replace(old, new)), NOW_S)


def test_a_key_that_cannot_be_used(tmp_path: Path) -> None:
    def problem(path: Path) -> str:
        with pytest.raises(SettingsError, match=r"gateway\.cloudfront\.public_key_file: ") as caught:
            CloudFrontCheck(CloudFrontKey(KEY_PAIR_ID, path))
        return str(caught.value)

    assert "No such file" in problem(tmp_path / "nowhere.pem")
    weak = CloudFrontKeys(tmp_path, bits=1024)
    assert "2048 bits" in problem(weak.public_key_file)
    private = problem(weak.private_key_file)
    assert "no public key" in private
    assert "PRIVATE" not in private
    elliptic = tmp_path / "elliptic.pem"
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    elliptic.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "no RSA key" in problem(elliptic)
