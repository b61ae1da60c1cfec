"""Dead Simple Signing Envelope 1.0: what bytes a signature over a statement covers."""

from __future__ import annotations

from typing import Final

IN_TOTO: Final = "application/vnd.in-toto+json"


def pre_authentication_encoding(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """The bytes to sign (DSSE protocol 1.0, "PAE"): type and body, each with its length in front."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
