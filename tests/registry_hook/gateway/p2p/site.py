"""A gateway with peers that misbehave, and with stores that count what they give."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from converter.chunk_manifest import ChunkListWriter, Segment, SegmentKind
from converter.oci import Descriptor, Digest
from p2p_seed.store.chunk_lists import DirectoryChunkLists
from p2p_seed.supernode import Capabilities, EngineHealth, OnProgress, SeedOutcome, unheard
from registry_hook.gateway.p2p.settings import PeerSettings
from registry_hook.gateway.sources import Source
from tests.registry_hook.gateway.p2p.fake_peer import FakePeer
from tests.registry_hook.gateway.running import SETTINGS, running

SECRET = b"sixteen bytes at least"
_EVERYTHING = Capabilities(True, True, True, True)
ORIGIN = "http://127.0.0.1:1"  # No peer here fetches anything.


def chunk_list(content: bytes, lengths: Sequence[int]) -> bytes:
    """The chunk list of a blob in pieces of these lengths, the last one repeated to the blob's end."""
    writer, position, rest = ChunkListWriter(), 0, list(lengths)
    while position < len(content):
        piece = content[position : position + (rest.pop(0) if len(rest) > 1 else rest[0])]
        writer.add(Segment(len(piece), SegmentKind.OTHER, hashlib.sha256(piece).digest()))
        position += len(piece)
    return writer.finish(Digest.of(content))


def with_list(root: Path, content: bytes, lengths: Sequence[int] = (1 << 20,)) -> None:
    """Writes the chunk list of a blob where the service would."""
    DirectoryChunkLists(root).put(Digest.of(content), chunk_list(content, lengths))


@dataclass
class FakeEngine:
    """Writes down what it is asked for."""

    name: str = "fake"
    capabilities: Capabilities = _EVERYTHING
    seeded: list[Digest] = field(default_factory=list)
    forgotten: list[Digest] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def seed(self, blob: Descriptor, on_progress: OnProgress = unheard) -> SeedOutcome:
        self.seeded.append(blob.digest)
        self.asked.set()
        return SeedOutcome(blob.digest, seeded=True, reason="it is a fake")

    def holds(self, blob: Descriptor) -> bool:
        return blob.digest in self.seeded

    def forget(self, digest: Digest) -> None:
        self.forgotten.append(digest)

    def health(self) -> EngineHealth:
        return EngineHealth(True, "a fake")

    def close(self) -> None:
        self.closed = True


@contextmanager
def gateway(
    root: Path,
    peers: Sequence[FakePeer],
    sources: Sequence[Source],
    *,
    engine: FakeEngine | None = None,
    cache_bytes: int = 64 << 20,
    by_digest: bool = True,
) -> Iterator[str]:
    """A gateway before these peers and stores; chunk lists are below `root`. Yields its URL."""
    root.mkdir(exist_ok=True)
    wanted = PeerSettings(
        peers=tuple(peer.seed_peer for peer in peers),
        origin_url=ORIGIN,
        origin_secret=SECRET,
        cache_dir=root / "cache",
        cache_bytes=cache_bytes,
        by_digest=by_digest,
    )
    settings = replace(SETTINGS, store=f"filesystem:{root}", peers=wanted)
    with running(sources, settings, make_engine=(lambda: engine) if engine is not None else None) as url:
        yield url
