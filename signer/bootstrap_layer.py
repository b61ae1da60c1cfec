"""The rule about content, for the bootstrap layer: its bytes, uncompressed too, are what is signed."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from hashlib import sha256
from typing import BinaryIO, Final, cast

from converter.chunk_manifest import Bootstrap
from converter.oci import Descriptor, Digest, media_types
from signer.content import Readable, read_up_to
from signer.errors import Rule, VerificationError
from signer.evidence import open_content
from signer.source import Source

_BOOT_FILE: Final = "image/image.boot"
_GZIP_TYPES: Final = (media_types.OCI_LAYER_GZIP, media_types.DOCKER_LAYER_GZIP)
_PIECE: Final = 1 << 20


def check_stored_bootstrap(source: Source, repository: str, layer: Descriptor, bootstrap: Bootstrap) -> None:
    """Reads the bootstrap layer and checks its digest, its diff id, and the digest of `image/image.boot`.

    Raises:
        VerificationError: one of them differs, or the layer is not a tar archive with that file.
    """
    with open_content(source, repository, layer, Rule.CONTENT) as stored:
        outer = _Hashing(stored)
        inner = _Hashing(_inflated(outer) if layer.media_type in _GZIP_TYPES else outer)
        try:
            boot = _boot_digest(inner)
            for reader in (inner, outer):
                while reader.read(_PIECE):
                    pass
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise VerificationError(Rule.CONTENT, f"bootstrap layer {layer.digest}: {error}") from error
    pairs = {
        "digest": (bootstrap.layer_digest, outer.digest),
        "diff id": (bootstrap.diff_id, inner.digest),
        f"digest of {_BOOT_FILE}": (bootstrap.boot_digest, boot),
    }
    for name, (signed, actual) in pairs.items():
        if signed != actual:
            raise VerificationError(
                Rule.CONTENT, f"bootstrap layer {layer.digest}: its {name} is {actual}, signed is {signed}"
            )


def _inflated(stream: Readable) -> Readable:
    # Only a rewind would need more than reading, and nothing is rewound.
    return gzip.GzipFile(mode="rb", fileobj=cast(BinaryIO, stream))


class _Hashing:
    """Reads through, and keeps the digest of what was read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._hash = sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


def _boot_digest(tar: Readable) -> Digest:
    """The digest of `image/image.boot` in a tar archive.

    Only plain entries are understood, as the converter writes them. `tarfile` itself would read an extended
    header of any length into memory, and the archive is not verified before its last byte.
    """
    while True:
        # An archive that is over raises a HeaderError here.
        entry = tarfile.TarInfo.frombuf(read_up_to(tar, tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        content, missing = sha256(), entry.size
        while missing > 0:
            data = read_up_to(tar, min(missing, _PIECE))
            if not data:
                raise tarfile.ReadError(f"the archive ends within {entry.name!r}")
            content.update(data)
            missing -= len(data)
        if entry.name == _BOOT_FILE:
            return Digest(content.hexdigest())
        read_up_to(tar, -entry.size % tarfile.BLOCKSIZE)
