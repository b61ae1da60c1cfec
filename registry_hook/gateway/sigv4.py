"""Redirects that a registry's S3 driver signs: presigned URLs of AWS Signature Version 4.

Distribution 3.1.2 and later sign them for the gateway's host (`redirectendpoint`). The gateway recomputes the
signature with the secret that the registry has for its bucket, from its own `Host` header and path, so an
intermediate proxy must change neither. Source: "Authenticating Requests: Using Query Parameters" of the
Amazon S3 API reference; presigned URLs of S3 escape the path once and leave the payload unsigned.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from registry_hook.gateway.redirect_checks import RedirectRefusedError
from registry_hook.gateway.signed_targets import MALFORMED, SignedTarget, parse_signed_target

SIGNATURE: Final = "X-Amz-Signature"
"""The parameter that makes a redirect one of these."""

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DATE: Final = re.compile(r"([0-9]{8})T[0-9]{6}Z")
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,5}")
_DEFAULT_PORT: Final = re.compile(r":(?:80|443)$")
_MAX_LIFETIME_S: Final = 7 * 24 * 3600  # AWS's own limit.
# How far the registry's clock may be ahead of ours; AWS's own limit.
_MAX_AHEAD_S: Final = 900


@dataclass(frozen=True, slots=True)
class SigV4Key:
    """What the registry signs with.

    Args:
        access_key: names the key.
        secret_key: never shown.
        region: of the registry's S3 driver.
    """

    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


class SigV4Check:
    """Lets in whom the registry has given a presigned URL; a `RedirectCheck`.

    Args:
        key: the registry's.
    """

    def __init__(self, key: SigV4Key) -> None:
        self._key = key
        self._signing_key = ("", b"")

    def check(self, method: str, target: str, host: str, now_s: float) -> None:
        """See `RedirectCheck.check`. A URL signed for GET is not good for HEAD, and the other way round."""
        signed = parse_signed_target(target, host)
        given = signed.parameters
        date = _DATE.fullmatch(given.get("X-Amz-Date", ""))
        expires = _EXPIRES.fullmatch(given.get("X-Amz-Expires", ""))
        if given.get("X-Amz-Algorithm") != _ALGORITHM or date is None or expires is None:
            raise RedirectRefusedError(MALFORMED)
        if given.get("X-Amz-SignedHeaders") != "host":
            raise RedirectRefusedError("the signature covers other headers than Host")
        scope = f"{date[1]}/{self._key.region}/s3/aws4_request"
        if given.get("X-Amz-Credential") != f"{self._key.access_key}/{scope}":
            raise RedirectRefusedError("the signature is of another access key, region or service")
        expected = self._signature(method, signed, date[1], scope)
        if not hmac.compare_digest(expected.encode(), given.get(SIGNATURE, "").encode()):
            raise RedirectRefusedError("the signature is wrong")
        _check_time(date[0], int(expires[0]), now_s)

    def _signature(self, method: str, signed: SignedTarget, day: str, scope: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in sorted(signed.pairs) if name != SIGNATURE)
        # Signers leave default ports out, and clients such as Go's do not.
        host = _DEFAULT_PORT.sub("", signed.host)
        # The empty line ends the headers.
        request = f"{method}\n{signed.path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        hashed = sha256(request.encode(errors="surrogateescape")).hexdigest()
        message = f"{_ALGORITHM}\n{signed.parameters['X-Amz-Date']}\n{scope}\n{hashed}"
        return hmac.digest(self._key_for(day), message.encode(), sha256).hex()

    def _key_for(self, day: str) -> bytes:
        known_day, key = self._signing_key
        if known_day != day:
            key = f"AWS4{self._key.secret_key}".encode()
            for part in (day, self._key.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), sha256)
            self._signing_key = (day, key)
        return key


def _check_time(date: str, lifetime_s: int, now_s: float) -> None:
    try:
        signed_s = datetime.fromisoformat(date).timestamp()
    except ValueError as error:
        raise RedirectRefusedError(MALFORMED) from error
    if lifetime_s > _MAX_LIFETIME_S:
        raise RedirectRefusedError("the signature is for longer than a week")
    if signed_s > now_s + _MAX_AHEAD_S:
        raise RedirectRefusedError("the signature is from the future: compare the clocks")
    if now_s >= signed_s + lifetime_s:
        raise RedirectRefusedError("the signature has expired")
