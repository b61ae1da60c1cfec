"""URLs of the private origin, the place that peers fetch blobs from.

The origin is a listener of the gateway's process that reads our store and the registry's storage, and never
asks a peer (design decision 11). Its URLs look like a registry's, `BASE/v2/_/blobs/<digest>`, because only
from such a URL Dragonfly takes the digest as the name of its task (`Digest::extract_from_blob_url` in
dragonfly-client-util 1.5.10). With a secret each URL is signed and expires. The two query parameters have
names that are in Dragonfly's default list of those that do not count for a task
(`default_proxy_rule_filtered_query_params`), so even without digests as names all signatures mean one task.

The signature is HMAC-SHA256 over `<digest>` LF `<expires>`, as base64url without padding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from converter.oci import Digest
from p2p_seed.errors import OriginUrlError

REPOSITORY: Final = "_"
"""The repository in the URL, which the origin does not look at. No registry allows it as a name."""

_EXPIRES: Final = re.compile(r"[0-9]{1,12}")


def origin_path(digest: Digest) -> str:
    """The path of a blob at the origin, and at a peer's proxy: `/v2/_/blobs/sha256:<hex>`."""
    return f"/v2/{REPOSITORY}/blobs/{digest}"


class OriginUrls:
    """Makes URLs that peers may fetch from, a fresh signature each time.

    Args:
        base_url: `http://host:port` (or https) of the origin, as the peers reach it.
        secret: signs the URLs; without one they carry no query, and the origin must not be reachable for
            anybody but the peers.
        lifetime_s: how long a URL is good for. A peer uses it for all pieces of a blob, so it has to be
            longer than the slowest transfer.
        now_s: seconds since the epoch.

    Raises:
        OriginUrlError: the base URL is more or less than scheme, host and port, the secret is empty, or the
            lifetime is not positive.
    """

    def __init__(
        self, base_url: str, secret: bytes | None, lifetime_s: int, now_s: Callable[[], float]
    ) -> None:
        self._base_url = _checked_base(base_url)
        if secret is not None and not secret:
            raise OriginUrlError(
                "the secret for the origin's URLs is empty: give a random one, or none at all"
            )
        if lifetime_s <= 0:
            raise OriginUrlError(f"URLs of the origin would live for {lifetime_s} s: give more than 0")
        self._secret = secret
        self._lifetime_s = lifetime_s
        self._now_s = now_s

    @property
    def base_url(self) -> str:
        """`http://host:port`, without a slash at its end: what `X-Dragonfly-Registry` and `ns=` carry."""
        return self._base_url

    def url(self, digest: Digest) -> str:
        """`BASE/v2/_/blobs/sha256:<hex>?Expires=<unix time>&Signature=<base64url>`."""
        return self._base_url + self.target(digest)

    def target(self, digest: Digest) -> str:
        """The same without scheme and host: what to ask a peer's proxy for."""
        query = self.query(digest)
        return f"{origin_path(digest)}?{query}" if query else origin_path(digest)

    def query(self, digest: Digest) -> str:
        """The signed query alone, or nothing without a secret. It needs no percent-encoding."""
        if self._secret is None:
            return ""
        expires = str(int(self._now_s()) + self._lifetime_s)
        return f"Expires={expires}&Signature={_signature(self._secret, digest, expires)}"


def check_origin_query(digest: Digest, query: Mapping[str, str], secret: bytes, now_s: float) -> None:
    """Checks the query of a request for a blob.

    Args:
        digest: the blob that the request's path names.
        query: the parameters, decoded. Others than ours are ignored: Dragonfly may add its own.
        secret: the one the URLs are signed with.
        now_s: seconds since the epoch.

    Raises:
        OriginUrlError: the signature is missing, wrong, another blob's, or has expired. The message says
            which, and holds nothing of the signature.
    """
    expires, signature = query.get("Expires", ""), query.get("Signature", "")
    if not signature:
        raise OriginUrlError(f"{digest} is asked for without a signature")
    if not _EXPIRES.fullmatch(expires):
        raise OriginUrlError(f"{digest} is asked for without a time of expiry")
    wanted = _signature(secret, digest, expires)
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        raise OriginUrlError(f"{digest} is asked for with a signature that was not made for it")
    if now_s >= int(expires):
        raise OriginUrlError(f"{digest} is asked for with a signature that expired at {expires}")


def _signature(secret: bytes, digest: Digest, expires: str) -> str:
    code = hmac.digest(secret, f"{digest}\n{expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


def _checked_base(base_url: str) -> str:
    base = base_url.rstrip("/")
    parts = urlsplit(base)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or base != f"{parts.scheme}://{parts.netloc}"
    ):
        raise OriginUrlError(f"the origin's URL {base_url!r} is not of the form http://host:port")
    if "@" in parts.netloc:
        raise OriginUrlError("the origin's URL holds a user name or a password: sign its URLs instead")
    return base
