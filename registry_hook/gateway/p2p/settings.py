"""What the gateway is told about the peers it reads from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from p2p_seed.locate import SeedPeer


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The seed peers of one cluster, and what is kept of what they send.

    Args:
        peers: all seed peers of the cluster, as they were told to whoever seeds.
        origin_url: `http://host:port` of our private origin, as the peers reach it.
        origin_secret: what the origin's URLs are signed with; None leaves them unsigned.
        origin_url_lifetime_s: how long a signature is good for.
        cache_dir: where whole blobs are kept, without names.
        cache_bytes: what they may occupy; 0 keeps none, and leaves blobs without a chunk list to the store.
        by_digest: whether blobs are seeded there under their digests. Jobs of a manager name them by the
            origin's URL instead, and whoever asks for the other gets a copy that nobody seeded.
    """

    peers: tuple[SeedPeer, ...]
    origin_url: str
    origin_secret: bytes | None = field(default=None, repr=False)
    origin_url_lifetime_s: int = 3600
    cache_dir: Path | None = None
    cache_bytes: int = 4 << 30
    by_digest: bool = True
