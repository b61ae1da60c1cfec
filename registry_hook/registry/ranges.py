"""Blobs read anywhere, by range requests: for who checks the pieces and not the whole."""

from __future__ import annotations

import io
from collections import OrderedDict
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, BinaryIO, Final

from converter.oci import Descriptor
from registry_hook.registry.auth import repository_scopes
from registry_hook.registry.errors import ProtocolError, SizeMismatchError
from registry_hook.registry.responses import shown
from registry_hook.registry.session import Call, Session
from registry_hook.seekable import SeekableFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A block is one request. Chunks lie in the order of the source's tar, so the next one is mostly in it, too.
_BLOCK_BYTES: Final = 4 << 20
_BLOCKS_KEPT: Final = 4


def open_seekable(
    session: Session, repository: str, descriptor: Descriptor
) -> AbstractContextManager[BinaryIO]:
    """Opens a blob; see RegistryClient.open_seekable."""
    return closing(io.BufferedReader(RangedBlob(session, repository, descriptor)))


class RangedBlob(SeekableFile):
    """A blob of a registry as a file; keeps the last few blocks of it.

    Args:
        session: of the registry.
        repository: that has the blob.
        descriptor: of the blob.
    """

    def __init__(self, session: Session, repository: str, descriptor: Descriptor) -> None:
        super().__init__(descriptor.size)
        self._session = session
        self._path = f"{repository}/blobs/{descriptor.digest}"
        self._scopes = repository_scopes(repository, "pull")
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Reads up to the end of a block.

        Raises:
            SizeMismatchError: the blob has another length.
            ProtocolError: the registry does not serve ranges.
            RegistryError: whatever a request raises.
        """
        if self._position >= self._size:
            return 0
        number, start = divmod(self._position, _BLOCK_BYTES)
        block = self._block(number)
        with memoryview(buffer).cast("B") as view:
            count = min(len(view), len(block) - start)
            view[:count] = block[start : start + count]
        self._position += count
        return count

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        self._blocks[number] = self._fetch(number * _BLOCK_BYTES)
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return self._blocks[number]

    def _fetch(self, start: int) -> bytes:
        end = min(start + _BLOCK_BYTES, self._size)
        call = Call("GET", self._path, self._scopes, {"Range": f"bytes={start}-{end - 1}"})
        answer = self._session.fetch(call, _BLOCK_BYTES, allowed=(416,))
        where = shown(answer.url)
        if answer.status == 416:  # there is no byte at `start`
            raise SizeMismatchError(where, self._size, start)
        if answer.status == 200 and (start, end) == (0, self._size) and len(answer.body) == end:
            return answer.body
        content_range = answer.headers.get("Content-Range", "")
        total = content_range.rpartition("/")[2]
        if total.isdigit() and int(total) != self._size:
            raise SizeMismatchError(where, self._size, int(total))
        if answer.status != 206 or not content_range.startswith(f"bytes {start}-{end - 1}/"):
            raise ProtocolError(f"{where}: asked for the bytes from {start} to {end}, got something else")
        if len(answer.body) != end - start:
            raise ProtocolError(f"{where}: a range of {end - start} bytes came with {len(answer.body)}")
        return answer.body
