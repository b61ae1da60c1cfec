"""Merkle tree hashes of RFC 6962 section 2.1 with SHA-256.

A leaf is `SHA-256(0x00 ‖ entry)`, an inner node `SHA-256(0x01 ‖ left ‖ right)`; a tree of n leaves has the
largest power of two below n on its left. That shape is the same as pairing neighbours level by level and
lifting an odd last node unchanged, which is how the functions here compute it: no recursion, one pass over
each level.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from converter.chunk_manifest.errors import InvalidProofError

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


def merkle_root(entries: Iterable[bytes]) -> bytes:
    """The root hash over `entries`, 32 bytes; the hash of the empty string when there are none."""
    builder = RootBuilder()
    builder.add(leaf_hash(entry) for entry in entries)
    return builder.root()


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


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` (RFC 6962 section 2.1.1), from the leaf's sibling upwards.

    Args:
        leaf_hashes: all leaf hashes of the tree, in order.
        index: 0 ≤ index < number of leaves.

    Returns:
        At most ceil(log2 n) hashes of 32 bytes.

    Raises:
        InvalidProofError: there is no such leaf.
    """
    if not 0 <= index < len(leaf_hashes):
        raise InvalidProofError(f"leaf {index} is not in a tree of {len(leaf_hashes)} leaves")
    path = []
    level = list(leaf_hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _next_level(level)
        index //= 2
    return path


def verify_inclusion(entry: bytes, index: int, tree_size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that `entry` is leaf `index` of the tree of `tree_size` leaves with the given root.

    Args:
        entry: the leaf's content, not its hash.
        index: position of the leaf, from 0.
        tree_size: number of leaves; it has to come from a trusted place, as the root does.
        proof: the audit path, from the leaf's sibling upwards.
        root: 32 bytes.

    Raises:
        InvalidProofError: the position is outside the tree, or the path has the wrong length or leads
            elsewhere.
    """
    if not 0 <= index < tree_size:
        raise InvalidProofError(f"leaf {index} is not in a tree of {tree_size} leaves")
    node, position, last, remaining = leaf_hash(entry), index, tree_size - 1, iter(proof)
    try:
        while last > 0:
            if position & 1:
                node = _parent(_checked(next(remaining)), node)
            elif position < last:
                node = _parent(node, _checked(next(remaining)))
            position, last = position >> 1, last >> 1
    except StopIteration:
        raise InvalidProofError(f"proof of {len(proof)} hashes is too short") from None
    if next(remaining, None) is not None:
        raise InvalidProofError(f"proof of {len(proof)} hashes is too long")
    if not hmac.compare_digest(node, root):
        raise InvalidProofError(f"leaf {index} leads to the root {node.hex()}, not {root.hex()}")


def _checked(node: bytes) -> bytes:
    if len(node) != HASH_SIZE:
        raise InvalidProofError(f"proof holds a hash of {len(node)} bytes")
    return node


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    parents = [
        sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
    ]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def _fold(level: Sequence[bytes]) -> bytes:
    while len(level) > 1:
        level = _next_level(level)
    return level[0]
