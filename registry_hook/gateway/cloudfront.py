"""Redirects that a registry's `cloudfront` middleware signs, over S3 storage: RSA and a public key.

Docker Registry 2.8 and Distribution 3 sign a URL with a "canned policy" (Amazon CloudFront developer guide,
"Use signed URLs"): the URL without query and the time until which it is good, signed with RSASSA-PKCS1-v1_5
and SHA-1. It is bound to neither method, client nor repository. The gateway rebuilds the policy from its own
`Host` header and path, so an intermediate proxy must change neither.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from registry_hook.errors import SettingsError
from registry_hook.gateway.redirect_checks import RedirectRefusedError
from registry_hook.gateway.signed_targets import MALFORMED, parse_signed_target

KEY_PAIR_ID: Final = "Key-Pair-Id"
"""The parameter that makes a redirect one of these."""

_PARAMETERS: Final = {"Expires", "Signature", KEY_PAIR_ID}
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,11}")
_FROM_URL: Final = str.maketrans("-_~", "+=/")
_BASE64: Final = re.compile(r"[A-Za-z0-9~-]+_{0,2}")
_MIN_KEY_BITS: Final = 2048
# The middleware signs its `baseurl`. Behind a proxy for TLS the gateway cannot tell which scheme that has,
# and both mean the same blob.
_SCHEMES: Final = ("https", "http")


@dataclass(frozen=True, slots=True)
class CloudFrontKey:
    """What tells whether the registry signed a redirect.

    Args:
        key_pair_id: the middleware's `keypairid`.
        public_key_file: PEM (`BEGIN PUBLIC KEY`, or `BEGIN RSA PUBLIC KEY`) that belongs to its `privatekey`.
    """

    key_pair_id: str
    public_key_file: Path


class CloudFrontCheck:
    """Lets in whom the registry has given a signed URL; a `RedirectCheck`.

    Args:
        key: the registry's.

    Raises:
        SettingsError: the file has no RSA key of 2048 bits or more.
    """

    def __init__(self, key: CloudFrontKey) -> None:
        self._key_pair_id = key.key_pair_id
        self._public_key = _load(key.public_key_file)

    def check(self, method: str, target: str, host: str, now_s: float) -> None:  # noqa: ARG002  not signed
        """See `RedirectCheck.check`."""
        signed = parse_signed_target(target, host)
        given = signed.parameters
        if given.keys() != _PARAMETERS or not _EXPIRES.fullmatch(given["Expires"]):
            raise RedirectRefusedError(MALFORMED)
        if given[KEY_PAIR_ID] != self._key_pair_id:
            raise RedirectRefusedError("the signature is of another key pair")
        signature = _signature(given["Signature"])
        policies = [
            _policy(f"{scheme}://{signed.host}{signed.path}", given["Expires"]) for scheme in _SCHEMES
        ]
        if not any(self._verifies(signature, policy) for policy in policies):
            raise RedirectRefusedError("the signature is wrong")
        if now_s >= int(given["Expires"]):
            raise RedirectRefusedError("the signature has expired")

    def _verifies(self, signature: bytes, policy: bytes) -> bool:
        try:
            # The registry has no other hash. Forging one takes a second preimage, or a collision between
            # policies that differ in nothing but hexadecimal digits.
            self._public_key.verify(signature, policy, PKCS1v15(), SHA1())  # noqa: S303
        except InvalidSignature:
            return False
        return True


def _policy(url: str, expires: str) -> bytes:
    """A canned policy; any other spelling of the same JSON would have another signature."""
    resource = f'{{"Statement":[{{"Resource":"{url}",'
    condition = f'"Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'
    return (resource + condition).encode(errors="surrogateescape")


def _signature(text: str) -> bytes:
    if _BASE64.fullmatch(text) is None:
        raise RedirectRefusedError(MALFORMED)
    try:
        return base64.b64decode(text.translate(_FROM_URL), validate=True)
    except binascii.Error as error:
        raise RedirectRefusedError(MALFORMED) from error


def _load(path: Path) -> RSAPublicKey:
    setting = "gateway.cloudfront.public_key_file"
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{setting}: {path} holds no public key in PEM form") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_KEY_BITS:
        raise SettingsError(f"{setting}: {path} holds no RSA key of {_MIN_KEY_BITS} bits or more")
    return key
