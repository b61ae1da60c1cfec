"""Sends one answer, from as many sources as it takes.

Before the first byte is sent any source may take over. Afterwards the next source goes on at the byte where
the last one broke off; when there is none, the connection is cut, so that the client sees that something is
missing.
"""

from __future__ import annotations

from aiohttp import web

from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError
from registry_hook.gateway.answers import Answer, blob_answer
from registry_hook.gateway.sources import BrokenOffError, OpenBlob, within


class Delivery:
    """The answer to one request for a blob.

    Args:
        request: GET or HEAD.
        digest: names the blob.
    """

    def __init__(self, request: web.BaseRequest, digest: Digest) -> None:
        self._request = request
        self._digest = digest
        self._answer: Answer | None = None
        self._size_bytes = 0
        self.response: web.StreamResponse | None = None
        self.sent_bytes = 0

    async def take_from(self, blob: OpenBlob, patience_s: float | None) -> web.StreamResponse:
        """Sends what is still to be sent.

        Args:
            blob: just opened.
            patience_s: how long to wait for its first bytes, and for each further piece; None waits for as
                long as the source does.

        Returns:
            The complete answer; a short one is left to aiohttp to write.

        Raises:
            StoreError: the source failed; `sent_bytes` counts what it has sent nevertheless.
            ConnectionError: the client is gone.
        """
        answer = self._answer_for(blob)
        missing = answer.length - self.sent_bytes
        first = b""
        if missing:
            first = await within(patience_s, blob.begin(answer.start + self.sent_bytes, missing))
        if self.response is None and len(first) == missing:
            self.response = web.Response(status=answer.status, headers=answer.headers, body=first or None)
        else:
            if self.response is None:
                self.response = web.StreamResponse(status=answer.status, headers=answer.headers)
                await self.response.prepare(self._request)
            await self._send(blob, self.response, first, patience_s)
        self.sent_bytes = answer.length
        return self.response

    @property
    def begun(self) -> bool:
        """Whether the client has seen the answer's header."""
        return self.response is not None

    def _answer_for(self, blob: OpenBlob) -> Answer:
        if self.response is None or self._answer is None:
            headers = self._request.headers
            self._answer = blob_answer(self._request.method, headers, self._digest, blob.size)
            self._size_bytes = blob.size
        elif blob.size != self._size_bytes:
            raise CorruptBlobError(
                f"{self._digest} has {self._size_bytes} bytes in one source, {blob.size} here"
            )
        return self._answer

    async def _send(
        self, blob: OpenBlob, response: web.StreamResponse, first: bytes, patience_s: float | None
    ) -> None:
        if first:
            await response.write(first)
            self.sent_bytes += len(first)
        try:
            await blob.send_rest(self._request, response, patience_s)
        except BrokenOffError as error:
            self.sent_bytes += error.sent_bytes
            raise
        await response.write_eof()
