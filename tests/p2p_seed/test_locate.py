from __future__ import annotations

import collections

from converter.oci import Digest
from p2p_seed.locate import SeedPeer, by_preference

PEERS = [SeedPeer(f"10.0.0.{n}:4000", f"http://10.0.0.{n}:4001") for n in range(1, 6)]
DIGESTS = [Digest.of(str(n).encode()) for n in range(2000)]


def test_the_order_is_the_same_in_every_process_and_version() -> None:
    """Gateways and services of different versions have to agree, so the order is pinned."""
    names = [
        peer.grpc.removeprefix("10.0.0.").removesuffix(":4000") for peer in by_preference(PEERS, DIGESTS[0])
    ]
    assert "".join(names) == "13524"


def test_the_order_of_the_settings_does_not_matter() -> None:
    for digest in DIGESTS[:50]:
        assert by_preference(PEERS, digest) == by_preference(reversed(PEERS), digest)


def test_each_peer_gets_its_share() -> None:
    firsts = collections.Counter(by_preference(PEERS, digest)[0] for digest in DIGESTS)
    assert all(320 < firsts[peer] < 480 for peer in PEERS)


def test_a_lost_peer_moves_only_its_own_blobs() -> None:
    for digest in DIGESTS[:200]:
        before = by_preference(PEERS, digest)
        after = by_preference([peer for peer in PEERS if peer != PEERS[2]], digest)
        assert after == [peer for peer in before if peer != PEERS[2]]


def test_where_a_peer_is_read_from_does_not_decide_what_it_gets() -> None:
    moved = [SeedPeer(peer.grpc, "http://other:1") for peer in PEERS]
    for digest in DIGESTS[:50]:
        assert [p.grpc for p in by_preference(moved, digest)] == [
            p.grpc for p in by_preference(PEERS, digest)
        ]


def test_no_peers_are_no_mistake() -> None:
    assert by_preference([], DIGESTS[0]) == []
