"""Which seed peers a blob belongs to: rendezvous hashing, the same in every process.

Whoever seeds and whoever reads a blob finds the same peers without asking anybody. Each peer gets a score for
the blob, and the highest scores win; so a peer that is added or lost moves only the blobs that are, or were,
its own (Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from converter.oci import Digest


@dataclass(frozen=True, slots=True)
class SeedPeer:
    """A peer that holds blobs for the others.

    Args:
        grpc: `host:port` where it takes orders. It names the peer: what blobs it gets depends on it.
        proxy: `http://host:port` where blobs are read from it.
    """

    grpc: str
    proxy: str


def by_preference(peers: Iterable[SeedPeer], digest: Digest) -> list[SeedPeer]:
    """All peers, those that should hold the blob first.

    The order is that of SHA-256 over `<grpc>` NUL `<digest>`, the highest first. It does not depend on the
    order of `peers`.
    """
    return sorted(peers, key=lambda peer: (_score(peer, digest), peer.grpc), reverse=True)


def _score(peer: SeedPeer, digest: Digest) -> bytes:
    return hashlib.sha256(f"{peer.grpc}\0{digest}".encode()).digest()
