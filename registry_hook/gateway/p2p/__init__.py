"""Blobs from the peers of a P2P network, which check nothing: here everything is proven before it leaves.

Peers hand on whatever they were given, a flipped bit included. So their bytes are sent to a client only when
the blob's chunk list proves them piece by piece, or, for a blob without a list, when the whole blob has its
digest (docs/adr/0141-bytes-of-peers-are-proven-first.md). What a peer cannot give in time comes from our
store or the registry's storage, at exactly the byte where the peer failed.
"""
