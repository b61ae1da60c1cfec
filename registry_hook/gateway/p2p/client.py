"""Asks the proxy of one peer for a blob, as dfdaemon 1.5.10 understands it.

`GET PROXY/v2/_/blobs/<digest>` with the origin's signed query. `X-Dragonfly-Registry` names the origin, where
the peer fetches what no other peer has. The digest names the task, so neither host nor signature of the URL
matters; and the scheduler is always asked, since otherwise blobs and ranges up to 4 MiB come from the origin
(`proxy/header.rs` and `proxy/mod.rs` of dragonfly-client).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from converter.oci import Digest
from p2p_seed.locate import SeedPeer
from p2p_seed.origin import OriginUrls
from registry_hook.gateway.p2p.errors import OriginFaultError, PeerFaultError, PeerReadError

CONNECT_TIMEOUT_S: Final = 1.0
_BUFFER_BYTES: Final = 1 << 20
_KEEPALIVE_S: Final = 15.0
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_ERROR_TYPE: Final = "X-Dragonfly-Error-Type"
_FINISHED: Final = "X-Dragonfly-Task-Download-Finished"


class PeerAnswer:
    """An answer whose body is still to be read; nothing of it is proven.

    Args:
        response: status 200 or 206, with the right length.
        size: length of the whole blob, as the peer says.
    """

    def __init__(self, response: aiohttp.ClientResponse, size: int) -> None:
        self.size = size
        self.held = response.headers.get(_FINISHED, "").lower() == "true"
        """Whether the peer had the whole blob already."""
        self._response = response

    async def read(self, length: int, patience_s: float) -> bytes:
        """The next bytes, exactly so many.

        Raises:
            PeerFaultError: it broke off, or they did not come in time.
        """
        try:
            async with asyncio.timeout(patience_s):
                return await self._response.content.readexactly(length)
        except TimeoutError as error:
            raise PeerFaultError(f"{length} bytes did not come within {patience_s:g} s", False) from error
        except asyncio.IncompleteReadError as error:
            missing = length - len(error.partial)
            raise PeerFaultError(f"the answer ended {missing} bytes early", False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise PeerFaultError(f"the answer broke off: {_text(error)}", False) from error


class PeerClient:
    """Connections to the proxies of peers. Made and used inside one event loop.

    Args:
        origin: where peers fetch from.
        by_digest: whether the digest names the task; otherwise the origin's URL without its signature does.
    """

    def __init__(self, origin: OriginUrls, by_digest: bool = True) -> None:
        self._origin = origin
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
            headers={
                "Accept-Encoding": "identity",
                "X-Dragonfly-Registry": origin.base_url,
                "X-Dragonfly-Use-P2P": "true",
                "X-Dragonfly-Enable-Task-ID-Based-Blob-Digest": "true" if by_digest else "false",
                "X-Dragonfly-Scheduling-Policy": "always",
            },
        )

    @asynccontextmanager
    async def get(
        self, peer: SeedPeer, digest: Digest, part: tuple[int, int] | None, patience_s: float
    ) -> AsyncIterator[PeerAnswer]:
        """Asks for a blob, or a part of it.

        Args:
            peer: whom.
            digest: the blob.
            part: half-open range; None for all of it.
            patience_s: how long the header may take. A peer sends it with the first piece of 4 MiB.

        Raises:
            PeerFaultError: nobody answers, or not what was asked for.
            OriginFaultError: the peer could not get it.
        """
        headers = {"Range": f"bytes={part[0]}-{part[1] - 1}"} if part is not None else {}
        try:
            async with asyncio.timeout(patience_s):
                response = await self._session.get(
                    peer.proxy + self._origin.target(digest), headers=headers, allow_redirects=False
                )
        except TimeoutError as error:  # Of a connection, too: aiohttp's own is one.
            raise PeerFaultError(f"no answer within {patience_s:g} s", False) from error
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, ConnectionError) as error:
            raise PeerFaultError(f"no connection: {_text(error)}", True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise PeerFaultError(_text(error), False) from error
        try:
            yield PeerAnswer(response, _size(response, part))
        finally:
            response.release()  # Closes the connection unless the body was read to its end.

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()


def _size(response: aiohttp.ClientResponse, part: tuple[int, int] | None) -> int:
    """Length of the whole blob, if the answer is to what was asked."""
    status, headers = response.status, response.headers
    if part is None and status == 200 and _LENGTH.fullmatch(headers.get("Content-Length", "")):
        return int(headers["Content-Length"])
    if part is not None and status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match and (int(match[1]), int(match[2]) + 1) == part:
            return int(match[3])
    raise _refusal(response)


def _refusal(response: aiohttp.ClientResponse) -> PeerReadError:
    status, kind = response.status, response.headers.get(_ERROR_TYPE, "")
    if kind == "backend":
        return OriginFaultError(f"the origin answered the peer with {status}")
    return PeerFaultError(f"unexpected answer {status}{f' of its {kind}' if kind else ''}", False)


def _text(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        # As text it would quote the URL, whose signature is good for everybody.
        return f"{type(error).__name__}: {error.message}"
    return str(error) or type(error).__name__
