"""The private origin: where seed peers get blobs from.

Peers give a blob a task id that depends on its digest alone only if its URL ends in
`/v2/<name>/blobs/<digest>` (Dragonfly's client 1.5.10), so they cannot be sent to S3 itself; and the registry
would redirect them to this gateway, which asks the peers. So this listener of its own reads the store and the
registry's storage, and never a peer.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import OriginUrlError
from p2p_seed.origin import REPOSITORY, check_origin_query
from registry_hook.gateway.handler import BlobHandler
from registry_hook.gateway.redirect_checks import RedirectRefusedError

# A digest says all, so all repositories have one name.
_PATH: Final = re.compile(rf"/v2/{re.escape(REPOSITORY)}/blobs/sha256:([0-9a-f]{{64}})")
_PING: Final = "/v2/"
_MAX_PARAMETERS: Final = 32


def parse_origin_path(path: str) -> Digest | None:
    """The blob that a path of the origin names, or None if it is no blob's path.

    Args:
        path: without query; a percent escape makes it no blob's path.
    """
    match = _PATH.fullmatch(path)
    return None if match is None else Digest(match[1])


class OriginCheck:
    """Lets those in whose URL was signed by `p2p_seed.origin.OriginUrls`; a `RedirectCheck`.

    Args:
        secret: the one that URLs are signed with.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def check(self, method: str, target: str, host: str, now_s: float) -> None:  # noqa: ARG002
        """See `RedirectCheck.check`; neither method nor host is signed, since peers change both."""
        path, _, query = target.partition("?")
        digest = parse_origin_path(path)
        if digest is None:
            raise RedirectRefusedError("no blob's path")
        try:
            parameters = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
            check_origin_query(digest, parameters, self._secret, now_s)
        except OriginUrlError as error:
            raise RedirectRefusedError(str(error)) from error
        except ValueError as error:
            raise RedirectRefusedError("too many parameters") from error


class Origin:
    """Answers requests of peers; an aiohttp low-level handler.

    Args:
        blobs: answers those for blobs.
    """

    def __init__(self, blobs: BlobHandler) -> None:
        self._blobs = blobs

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request. `/v2/` is what clients of a registry ask first, and says nothing."""
        if request.raw_path == _PING and request.method in ("GET", "HEAD"):
            return web.Response(headers={"Docker-Distribution-API-Version": "registry/2.0"})
        return await self._blobs(request)
