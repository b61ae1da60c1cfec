"""A TCP proxy that cuts connections after a number of bytes, as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self


class CuttingProxy:
    """Forwards loopback connections to a port; cuts those that carry too much.

    Args:
        port: where to forward to.
        cuts: for the connections that carry bulk, in turn: bytes after which each is reset. Later ones live.
        upstream: count the bytes to the server (uploads) instead of those from it (downloads).
    """

    def __init__(self, port: int, cuts: list[int], *, upstream: bool) -> None:
        self._target = ("127.0.0.1", port)
        self._cuts = list(cuts)
        self._upstream = upstream
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.done = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown() wakes the thread that waits in accept(); close() alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for source, target, counted in (
                    (client, server, self._upstream),
                    (server, client, not self._upstream),
                ):
                    threading.Thread(
                        target=self._pump, args=(source, target, (client, server), counted), daemon=True
                    ).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, both: tuple[socket.socket, ...], counted: bool
    ) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                carried += len(data)
                if counted and self._is_over(carried):
                    for side in both:
                        # A linger time of zero makes close() a reset.
                        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                target.sendall(data)
        for side in both:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _is_over(self, carried: int) -> bool:
        with self._lock:
            if not self._cuts or carried <= self._cuts[0]:
                return False
            self._cuts.pop(0)
            self.done += 1
            return True
