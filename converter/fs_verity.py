"""Digests as Linux's fs-verity computes them, without a file system that has it.

Once fs-verity is switched on for a file, the kernel checks each block that is read against a Merkle tree, and
the file cannot be written any more. The digest names the root of that tree and the length of the file;
whoever knows it can have the kernel refuse any other content. Here always: SHA-256, blocks of 4096 bytes, no
salt.

Source: Documentation/filesystems/fsverity.rst of Linux 6.12, "Merkle tree" and "fs-verity descriptor".
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from struct import Struct
from typing import Final

from converter.oci import Digest

BLOCK_SIZE: Final = 4096
_HASH_SIZE: Final = 32
_READ_SIZE: Final = 1 << 20
_VERSION: Final = 1
_SHA256: Final = 1  # FS_VERITY_HASH_ALG_SHA256
# Offset 0 version, 1 algorithm, 2 log2 of the block size, 3 bytes of salt, 4 zero (bytes of signature), 8
# bytes of the file, 16 root hash[64], 80 salt[32], 112 zero[144].
_DESCRIPTOR: Final = Struct("<BBBBIQ64s32s144s")

if _DESCRIPTOR.size != 256:
    raise AssertionError(f"an fs-verity descriptor of {_DESCRIPTOR.size} bytes is declared, not of 256")


class FsVerity:
    """Takes the content of a file in pieces of any length, in order.

    Remembers one block for each level of the tree, whose leaves are the hashes of the file's blocks.
    """

    def __init__(self) -> None:
        self._size = 0
        self._pending = b""  # less than a block of the file
        self._levels: list[_Level] = [_Level()]

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if self._pending:
            missing = BLOCK_SIZE - len(self._pending)
            self._pending += bytes(view[:missing])
            view = view[missing:]
            if len(self._pending) < BLOCK_SIZE:
                return
            self._add(0, hashlib.sha256(self._pending).digest())
        whole = len(view) - len(view) % BLOCK_SIZE
        for start in range(0, whole, BLOCK_SIZE):
            self._add(0, hashlib.sha256(view[start : start + BLOCK_SIZE]).digest())
        self._pending = bytes(view[whole:])

    def digest(self) -> Digest:
        """The digest of everything; nothing can be added after it."""
        if self._pending:
            self._add(0, _hash_padded(self._pending))
        root = self._root() if self._size else bytes(_HASH_SIZE)
        descriptor = _DESCRIPTOR.pack(
            _VERSION, _SHA256, BLOCK_SIZE.bit_length() - 1, 0, 0, self._size, root, b"", b""
        )
        return Digest.of(descriptor)

    def _add(self, number: int, digest: bytes) -> None:
        """Adds a hash to a level; a block that becomes full is a hash of the level above."""
        level = self._levels[number]
        level.count += 1
        level.block += digest
        if len(level.block) == BLOCK_SIZE:
            full, level.block = level.block, b""
            if number + 1 == len(self._levels):
                self._levels.append(_Level())
            self._add(number + 1, hashlib.sha256(full).digest())

    def _root(self) -> bytes:
        """The one hash of the highest level that is needed."""
        number = 0
        while self._levels[number].count > 1:
            level = self._levels[number]
            if number + 1 == len(self._levels):
                self._levels.append(_Level())
            if level.block:
                rest, level.block = level.block, b""
                self._add(number + 1, _hash_padded(rest))
            number += 1
        return self._levels[number].block


class _Level:
    """One level of the tree: its last block, not full yet, and how many hashes it has had."""

    def __init__(self) -> None:
        self.block = b""
        self.count = 0


def _hash_padded(block: bytes) -> bytes:
    return hashlib.sha256(block.ljust(BLOCK_SIZE, b"\0")).digest()


def fs_verity_of_bytes(content: bytes | bytearray | memoryview) -> Digest:
    """The digest of a file with this content."""
    verity = FsVerity()
    verity.update(content)
    return verity.digest()


def fs_verity_of(path: Path) -> Digest:
    """The digest of a file.

    Raises:
        OSError: it cannot be read.
    """
    verity = FsVerity()
    with path.open("rb") as file:
        while piece := file.read(_READ_SIZE):
            verity.update(piece)
    return verity.digest()
