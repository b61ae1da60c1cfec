"""Lays the trees of layers over each other, as overlayfs shows them.

The rules (OCI image spec 1.1, layer.md; what containerd 1.6 and overlayfs make of them was measured, see
docs/containerd-unpacking.md):

- A whiteout or an opaque directory hides what lower layers have, wherever it stands in its own layer, and
  never what its own layer has. In the lowest layer it hides nothing.
- A directory over a directory keeps the lower names. If the upper layer lists it, metadata and xattrs are the
  upper ones, else all of the lower ones stay, the time too.
- Anything else takes the place of what was there.
- Names of a hardlink that an upper layer does not touch stay linked.
- A hardlink whose target is in a lower layer shares the lower inode, if its own layer does not hide it.
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import InvalidLayerError
from converter.limits import check_chunk_refs, count_memory
from converter.tree import FileTree, LowerLink


def merge_layer(image: FileTree, layer: FileTree, blobs: Sequence[int]) -> None:
    """Lays one layer over what the layers below it made.

    Args:
        image: the merged tree so far; a new tree for the lowest layer. Changed in place.
        layer: the layer's own tree; used up.
        blobs: what the merged tree calls each blob that the layer has chunks of: first the layer's own, then
            those of its chunk dictionary.

    Raises:
        InvalidLayerError: a hardlink to a lower layer whose target is not there.
        LimitExceededError: the layers together are too large.
    """
    check_chunk_refs(len(image.chunk_refs) + len(layer.chunk_refs))
    count_memory(image, layer.memory_bytes)
    links = _resolve_lower_links(image, layer)
    base = image.absorb(layer, blobs)
    merged_into: dict[int, int] = {}  # directories of the layer that were there before
    overlapping = [(image.ROOT, layer.ROOT)]
    while overlapping:
        lower, upper = overlapping.pop()
        merged_into[upper] = lower
        _hide(image, lower, layer, upper)
        if layer.explicit[upper]:
            image.copy_metadata(base + upper, lower)
        for name, inode in image.dissolve(base + upper).items():
            existing = image.lookup(lower, name)
            if existing is not None and image.is_directory(existing) and image.is_directory(inode):
                overlapping.append((existing, inode - base))
            else:
                image.link(lower, name, inode)
    for link, inode in links:
        image.link(merged_into.get(link.directory, base + link.directory), link.name, inode)


def _hide(image: FileTree, lower: int, layer: FileTree, upper: int) -> None:
    """Removes from a merged directory what the layer's directory hides."""
    if upper in layer.opaque:
        image.clear(lower)
    for name in layer.whiteouts.get(upper, ()):
        if image.lookup(lower, name) is not None:
            image.unlink(lower, name)


def _resolve_lower_links(image: FileTree, layer: FileTree) -> list[tuple[LowerLink, int]]:
    """Finds the inodes of the merged tree that a layer's links to lower layers mean.

    Raises:
        InvalidLayerError: a target is not there, is hidden by the layer itself, or is a directory.
    """
    resolved: list[tuple[LowerLink, int]] = []
    earlier: dict[tuple[int, bytes], int] = {}
    for link in layer.lower_links:
        inode = _find_lower(image, layer, link.target, earlier)
        if inode is None or image.is_directory(inode):
            reason = "is not there" if inode is None else "is a directory"
            raise InvalidLayerError(f"the target of the hardlink {link.name!r}, {link.target!r}, {reason}")
        earlier[link.directory, link.name] = inode
        resolved.append((link, inode))
    return resolved


def _find_lower(
    image: FileTree, layer: FileTree, path: bytes, earlier: dict[tuple[int, bytes], int]
) -> int | None:
    """The inode at a path of the lower layers that the layer does not hide, or that an earlier link made."""
    lower: int | None = image.ROOT
    upper: int | None = layer.ROOT
    names = path.split(b"/")
    last = len(names) - 1
    for number, name in enumerate(names):
        if upper is not None:
            if (upper, name) in earlier:
                return earlier[upper, name] if number == last else None
            hidden = upper in layer.opaque or name in layer.whiteouts.get(upper, ())
            if hidden or not layer.is_directory(upper):
                return None
            upper = layer.lookup(upper, name)
        lower = None if lower is None else image.lookup(lower, name)
    return lower
