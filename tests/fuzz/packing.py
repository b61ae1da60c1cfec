"""Several byte strings as one, so that every input of the corpus is one file."""

from __future__ import annotations

from collections.abc import Iterable


def pack(parts: Iterable[bytes]) -> bytes:
    """The parts, each behind its length in 4 bytes."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def unpack(data: bytes) -> list[bytes]:
    """The parts of what `pack` made."""
    parts = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        parts.append(data[at + 4 : end])
        at = end
    return parts
