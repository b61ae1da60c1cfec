"""A proxy before an S3 server that changes requests or answers: a bad network on demand."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass
class Exchange:
    """One request and, later, its answer. `drop_answer` hangs up instead of answering."""

    method: str
    path: str
    body: bytes
    status: int = 0
    answer_headers: list[tuple[str, str]] = field(default_factory=list)
    answer: bytes = b""
    drop_answer: bool = False
    hang_up: bool = False


Meddle = Callable[[Exchange], None]


def nothing(exchange: Exchange) -> None:
    pass


class Meddler:
    """Forwards to `target`; `on_request` and `on_answer` may change the exchange.

    Signatures stay valid, since they cover the Host header, which is passed on as the client sent it.
    """

    def __init__(self, target: str, on_request: Meddle = nothing, on_answer: Meddle = nothing) -> None:
        self.on_request, self.on_answer = on_request, on_answer
        self.target = urlsplit(target)
        self.exchanges: list[Exchange] = []
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                meddler.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        exchange = Exchange(handler.command, handler.path, body)
        self.exchanges.append(exchange)
        self.on_request(exchange)
        connection = http.client.HTTPConnection(str(self.target.hostname), self.target.port, timeout=20)
        connection.request(exchange.method, exchange.path, exchange.body, dict(handler.headers.items()))
        answer = connection.getresponse()
        exchange.status, exchange.answer_headers = answer.status, answer.getheaders()
        exchange.answer = answer.read()
        connection.close()
        self.on_answer(exchange)
        if exchange.drop_answer:
            handler.close_connection = True
            return
        handler.send_response_only(exchange.status)
        for name, value in exchange.answer_headers:
            if name.lower() not in ("transfer-encoding", "connection"):
                handler.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in exchange.answer_headers):
            handler.send_header("Content-Length", str(len(exchange.answer)))
        handler.end_headers()
        handler.wfile.write(exchange.answer)
        handler.close_connection = handler.close_connection or exchange.hang_up

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
