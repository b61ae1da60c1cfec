"""What our reader shows of a converted image, as a snapshot like that of a mount."""

from __future__ import annotations

import hashlib
from functools import partial

from converter.nydus_image import NydusImage
from tests.converter.layers import paths
from tests.reader_tree import snapshot_of
from tests.trees import Tree


def shown(image: NydusImage) -> Tree:
    """The tree of an image, every byte of its files read and checked."""
    return snapshot_of(image.bootstrap.tree, partial(_sha256, image))


def nanoseconds(image: NydusImage) -> dict[bytes, int]:
    """The part of each time that snapshots leave out."""
    tree = image.bootstrap.tree
    return {path: tree.mtime_ns[inode] for path, inode in paths(tree).items()}


def _sha256(image: NydusImage, inode: int) -> str:
    digest = hashlib.sha256()
    size = 0
    for piece in image.content(inode):
        digest.update(piece)
        size += len(piece)
    assert size == image.bootstrap.tree.size[inode]
    return digest.hexdigest()
