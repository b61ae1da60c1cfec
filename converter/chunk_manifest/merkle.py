"""Merkle tree hashes of RFC 6962 section 2.1 with SHA-256.

A leaf is `SHA-256(0x00 ‖ entry)`, an inner node `SHA-256(0x01 ‖ left ‖ right)`; a tree of n leaves has the
largest power of two below n on its left. That shape is the same as pairing neighbours level by level and
lifting an odd last node unchanged, which is how the functions here compute it: no recursion, one pass over
each level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_SIZE: Final = 32
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
# Leaves are folded in complete subtrees of this height, so a root needs memory for 4,096 hashes, whatever n
# is.
_SUBTREE_HEIGHT: Final = 12
_SUBTREE_LEAVES: Final = 1 << _SUBTREE_HEIGHT


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one leaf, 32 bytes."""
    return sha256(_LEAF + entry).digest()


class RootBuilder:
    """Computes a root while the leaf hashes arrive, in memory for a few thousand of them."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        # Roots of complete subtrees from left to right, with their heights, which fall strictly.
        self._subtrees: list[tuple[int, bytes]] = []

    def add(self, leaf_hashes: Iterable[bytes]) -> None:
        """Appends leaves, each given as its 32-byte leaf hash."""
        pending = self._pending
        pending.extend(leaf_hashes)
        whole = len(pending) - len(pending) % _SUBTREE_LEAVES
        for start in range(0, whole, _SUBTREE_LEAVES):
            self._push(_SUBTREE_HEIGHT, _fold(pending[start : start + _SUBTREE_LEAVES]))
        del pending[:whole]

    def _push(self, height: int, node: bytes) -> None:
        while self._subtrees and self._subtrees[-1][0] == height:
            node = _parent(self._subtrees.pop()[1], node)
            height += 1
        self._subtrees.append((height, node))

    def root(self) -> bytes:
        """The root over everything added so far, 32 bytes; more leaves may follow."""
        node = _fold(self._pending) if self._pending else None
        for _, left in reversed(self._subtrees):
            node = left if node is None else _parent(left, node)
        return sha256(b"").digest() if node is None else node


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    parents = [_parent(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def _fold(level: Sequence[bytes]) -> bytes:
    while len(level) > 1:
        level = _next_level(level)
    return level[0]
