"""What is told of a peer that answers nonsense: nothing of the signed URL that it was asked for."""

from __future__ import annotations

import asyncio
import time

import pytest

from converter.oci import Digest
from p2p_seed.locate import SeedPeer
from p2p_seed.origin import OriginUrls
from registry_hook.gateway.p2p.client import PeerClient
from registry_hook.gateway.p2p.errors import PeerReadError

DIGEST = Digest.of(b"content")
ANSWERS = {
    "nothing": b"",
    "no HTTP": b"nonsense\r\n\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a bad header": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    "an error": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "a body cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nco",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
}


async def error_of(answer: bytes) -> str:
    """What the client says when a peer answers this, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = PeerClient(OriginUrls("http://origin.example", b"a secret of the origin", 60, time.time))
    peer = SeedPeer(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}")
    try:
        with pytest.raises(PeerReadError) as caught:
            async with client.get(peer, DIGEST, None, 5) as found:
                await found.read(7, 5)
    finally:
        await client.close()
        server.close()
    return str(caught.value)


@pytest.mark.parametrize("answer", ANSWERS)
def test_errors_do_not_quote_the_signed_url(answer: str) -> None:
    told = asyncio.run(error_of(ANSWERS[answer]))
    assert told
    for secret in ("Signature", "Expires", "/v2/_/blobs"):
        assert secret not in told
