"""Uploads of blobs: in bounded pieces, and taken up again after a broken connection.

Source: distribution spec 1.1, "Pushing a blob in chunks". What Distribution makes of it (sources and
experiments):

- 3.1.2 keeps what a broken request brought, and its status tells how much; it answers 416 to a piece at the
  wrong offset.
- 2.8.2 always reports `0-0`, and cancels the upload when the state in its URL is not the newest, so an upload
  can be taken up between two pieces only. Otherwise it starts again.
- Both report `0-0` for an upload of no byte as well as of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from converter.oci import Descriptor
from registry_hook.registry.auth import Scopes, repository_scopes
from registry_hook.registry.errors import (
    DigestMismatchError,
    ProtocolError,
    RefusedError,
    RegistryUnavailableError,
    SizeMismatchError,
)
from registry_hook.registry.retry import RetryPolicy
from registry_hook.registry.session import Answer, Call, Session

PIECE_BYTES: Final = 32 * 1024 * 1024  # of one request; S3 behind a registry wants 5 MiB at the least
_READ_BYTES: Final = 1024 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_OCTETS: Final = "application/octet-stream"


class BlobUpload:
    """The upload of one blob that the repository does not have yet.

    Args:
        session: the registry.
        retry: how often to take the upload up again, or to start it anew.
        repository: where to store the blob.
        descriptor: digest and size of the content.
        source: the content, or the file that holds it.
        piece_bytes: length of the body of one request.
    """

    def __init__(
        self,
        session: Session,
        retry: RetryPolicy,
        repository: str,
        descriptor: Descriptor,
        source: Path | bytes,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._session = session
        self._attempts = retry.start()
        self._repository = repository
        self._descriptor = descriptor
        self._source = source
        self._piece_bytes = piece_bytes
        self._location: httpx.URL | None = None
        self._offset = 0
        self._furthest = 0
        self._resumed = False

    def run(self, mount_from: str | None = None) -> None:
        """Uploads the blob, or mounts it from another repository if the registry can.

        Raises:
            SizeMismatchError: `source` has another length than the descriptor says.
            DigestMismatchError: `source` has another digest.
            RegistryUnavailableError: the connection broke too often.
        """
        self._check_length()
        while True:
            try:
                if self._location is None and self._start(mount_from):
                    return
                while self._descriptor.size - self._offset > self._piece_bytes:
                    self._send_piece()
                self._finish()
            except RegistryUnavailableError:
                if not self._attempts.again():
                    raise
                if self._exists():  # Only the answer to the last request was lost.
                    return
                self._find_offset()
            except RefusedError as error:
                # An upload that was broken off may be gone, or hold bytes twice. A fresh one settles it.
                if not self._resumed or not self._attempts.again():
                    raise self._explained(error) from error
                self._forget()
            else:
                return

    def _start(self, mount_from: str | None) -> bool:
        """Opens an upload; True if a mount made it unnecessary."""
        scopes = self._scopes
        parameters = {}
        if mount_from is not None:
            parameters = {"mount": str(self._descriptor.digest), "from": mount_from}
            scopes += repository_scopes(mount_from, "pull")
        url = httpx.URL(f"{self._repository}/blobs/uploads/", params=parameters)
        # A second upload that nobody uses does no harm: the registry purges it.
        answer = self._fetch(
            Call("POST", url, scopes, {"Content-Length": "0"}, repeatable=True),
        )
        if answer.status == 201 and mount_from is not None:
            return True
        self._follow(answer, 202)
        return False

    def _send_piece(self) -> None:
        end = self._offset + self._piece_bytes
        answer = self._fetch(self._with_body("PATCH", self._require_location(), end))
        self._follow(answer, 202)
        self._offset = end
        if end > self._furthest:  # Sending again what was lost is no progress: it could go on for ever.
            self._furthest = end
            self._attempts.progressed()

    def _finish(self) -> None:
        """Sends the rest, and asks the registry to check the whole."""
        url = self._require_location().copy_add_param("digest", str(self._descriptor.digest))
        answer = self._fetch(self._with_body("PUT", url, self._descriptor.size))
        if answer.status != 201:
            raise ProtocolError(f"{self._name}: upload ended with {answer.status} instead of 201")

    def _with_body(self, method: str, url: httpx.URL, end: int) -> Call:
        headers = {"Content-Type": _OCTETS, "Content-Length": str(end - self._offset)}
        if method == "PATCH":
            headers["Content-Range"] = f"{self._offset}-{end - 1}"
        return Call(
            method, url, self._scopes, headers, partial(self._read, self._offset, end), repeatable=False
        )

    def _find_offset(self) -> None:
        """Asks how far the upload got; starts a new one if the registry does not know it any more."""
        self._resumed = True
        if self._location is None:
            return
        call = Call("GET", self._location, self._scopes)
        answer = self._session.fetch(call, _MAX_ANSWER_BYTES, allowed=(400, 404, 416))
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.status not in (200, 204) or match is None or "Location" not in answer.headers:
            self._forget()
            return
        last = int(match[1])
        # `0-0` says nothing; the acknowledged offset is right then, or the next piece is refused.
        self._offset = max(self._offset, last + 1 if last else 0)
        if self._offset > self._descriptor.size:
            self._forget()
            return
        self._location = self._session.next_url(answer, answer.headers["Location"])

    def _forget(self) -> None:
        self._location = None
        self._offset = 0
        self._resumed = False

    def _exists(self) -> bool:
        url = f"{self._repository}/blobs/{self._descriptor.digest}"
        return self._session.fetch(Call("HEAD", url, self._scopes), 0, allowed=(404,)).status == 200

    def _follow(self, answer: Answer, status: int) -> None:
        """Takes the address for the next request from an answer."""
        if answer.status != status or "Location" not in answer.headers:
            raise ProtocolError(
                f"{self._name}: upload answered with {answer.status} without the next address"
            )
        self._location = self._session.next_url(answer, answer.headers["Location"])

    def _explained(self, error: RefusedError) -> Exception:
        if "DIGEST_INVALID" not in error.codes:
            return error
        return DigestMismatchError(f"{self._name} as uploaded", self._descriptor.digest, None)

    def _fetch(self, call: Call) -> Answer:
        return self._session.fetch(call, _MAX_ANSWER_BYTES)

    def _require_location(self) -> httpx.URL:
        if self._location is None:
            raise ProtocolError(f"{self._name}: no upload is open")
        return self._location

    def _check_length(self) -> None:
        actual = len(self._source) if isinstance(self._source, bytes) else self._source.stat().st_size
        if actual != self._descriptor.size:
            raise SizeMismatchError(f"{self._name} to upload", self._descriptor.size, actual)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of the source, in small pieces."""
        if isinstance(self._source, bytes):
            yield self._source[start:end]
            return
        with self._source.open("rb") as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(_READ_BYTES, end - start))
                if not piece:
                    raise SizeMismatchError(f"{self._name} to upload", self._descriptor.size, start)
                start += len(piece)
                yield piece

    @property
    def _scopes(self) -> Scopes:
        return repository_scopes(self._repository, "pull,push")

    @property
    def _name(self) -> str:
        return f"blob {self._repository}@{self._descriptor.digest}"
