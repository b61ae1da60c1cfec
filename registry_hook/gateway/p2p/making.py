"""Puts the parts of the P2P source together."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from p2p_seed.errors import OriginUrlError
from p2p_seed.origin import OriginUrls
from p2p_seed.store.chunk_lists import ChunkLists
from p2p_seed.supernode import SeedEngine
from registry_hook.errors import SettingsError
from registry_hook.gateway.p2p.client import PeerClient
from registry_hook.gateway.p2p.fills import Fills
from registry_hook.gateway.p2p.metrics import PeerMetrics
from registry_hook.gateway.p2p.peers import SeedPeers
from registry_hook.gateway.p2p.proofs import Proofs
from registry_hook.gateway.p2p.reads import PeerReads
from registry_hook.gateway.p2p.settings import PeerSettings
from registry_hook.gateway.p2p.source import P2PSource
from registry_hook.gateway.p2p.wishes import EngineWishes, NoWishes

MakeEngine = Callable[[], SeedEngine]


async def make_p2p_source(
    settings: PeerSettings, lists: ChunkLists, figures: CollectorRegistry, make_engine: MakeEngine | None
) -> P2PSource:
    """The source of blobs from peers; inside the event loop that uses it.

    Args:
        settings: which peers.
        lists: chunk lists of the blobs.
        figures: where metrics are shown.
        make_engine: makes the engine of the same cluster, for blobs that are missing or spoilt there.

    Raises:
        SettingsError: the origin's URL or the cache directory cannot be used.
    """
    try:
        origin = OriginUrls(
            settings.origin_url, settings.origin_secret, settings.origin_url_lifetime_s, time.time
        )
    except OriginUrlError as error:
        raise SettingsError(f"seeding.origin_url: {error}") from error
    metrics = PeerMetrics(figures)
    wishes = EngineWishes(make_engine) if make_engine is not None else NoWishes()
    reads = PeerReads(SeedPeers(settings.peers), PeerClient(origin, settings.by_digest), wishes, metrics)
    fills = None
    if settings.cache_dir is not None and settings.cache_bytes:
        fills = Fills(settings.cache_dir, settings.cache_bytes, reads, metrics)
    return P2PSource(Proofs(lists), reads, fills, metrics)
