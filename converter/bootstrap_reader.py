"""Reads the last layer of a Nydus image: the bootstrap, and what nydusd's cache is filled with (§1.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from converter.blob.reader import MAX_BOOTSTRAP_SIZE
from converter.bootstrap_layer import BOOTSTRAP_NAME
from converter.decompress import Readable, decompress
from converter.errors import BootstrapError, InvalidLayerError, LimitExceededError
from converter.oci import Digest
from converter.tar import ByteSource, Entry, EntryType, TarReader
from converter.tar.paths import normalise, show

_LEGACY_NAME: Final = b"image.boot"
_DIRECTORY: Final = b"image"
_MAX_OTHER_BYTES: Final = 1 << 30  # of all other files together
_MAX_ENTRIES: Final = 4096
_PIECE: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class BootstrapLayer:
    """What is in a bootstrap layer.

    Args:
        bootstrap: the bootstrap itself.
        others: content of the other files by path, like `image/<blob id>.blob.meta`.
        diff_id: digest of the uncompressed tar.
    """

    bootstrap: bytes
    others: dict[bytes, bytes]
    diff_id: Digest


def read_bootstrap_layer(stream: Readable) -> BootstrapLayer:
    """Reads a bootstrap layer to its end, in any compression.

    Raises:
        BootstrapError: it is damaged, has no bootstrap, or holds what does not belong there.
        Exception: what the stream raises.
    """
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in decompress(stream):
            digest.update(block)
            yield block

    try:
        files = _read_files(TarReader(ByteSource(hashed())))
    except (InvalidLayerError, LimitExceededError) as error:
        raise BootstrapError(f"the bootstrap layer: {error}") from error
    bootstrap = files.pop(BOOTSTRAP_NAME.encode(), None) or files.pop(_LEGACY_NAME, None)
    if bootstrap is None:
        raise BootstrapError(f"the bootstrap layer has no file {BOOTSTRAP_NAME}")
    return BootstrapLayer(bootstrap, files, Digest(digest.hexdigest()))


def _read_files(reader: TarReader) -> dict[bytes, bytes]:
    files: dict[bytes, bytes] = {}
    room = MAX_BOOTSTRAP_SIZE + _MAX_OTHER_BYTES
    for count, entry in enumerate(reader, 1):
        path = normalise(entry.path)
        if count > _MAX_ENTRIES:
            raise BootstrapError(f"the bootstrap layer has more than {_MAX_ENTRIES} entries")
        if entry.type is EntryType.DIRECTORY and path in (_DIRECTORY, b""):
            continue
        room -= _check_file(path, entry, files, room)
        files[path] = b"".join(reader.content(_PIECE))
    return files


def _check_file(path: bytes, entry: Entry, files: dict[bytes, bytes], room: int) -> int:
    if entry.type is not EntryType.FILE or path in files:
        what = "twice" if path in files else "which is not a regular file"
        raise BootstrapError(f"the bootstrap layer has {show(path)}, {what}")
    if entry.size > min(room, MAX_BOOTSTRAP_SIZE):
        raise BootstrapError(f"the bootstrap layer has {show(path)} of {entry.size} bytes, which is too long")
    return entry.size
