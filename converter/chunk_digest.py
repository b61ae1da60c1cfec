"""The digests of chunks (§4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from blake3 import blake3

from converter.rafs.layout import Digester

DigestChunk = Callable[[bytes], bytes]


def digest_function(digester: Digester) -> DigestChunk:
    """The function from a chunk's content to its digest of 32 bytes."""
    return _sha256 if digester is Digester.SHA256 else _blake3


def _blake3(content: bytes) -> bytes:
    return blake3(content).digest()


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
