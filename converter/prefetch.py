"""What a client may fetch before it is asked for: lists of paths, and what an image has of them.

A list comes from a person, or from a trace of what a container read when it started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from converter.errors import ConvertError
from converter.options import check_prefetch_path
from converter.tree import FileTree

MAX_LINKS_FOLLOWED: Final = 40  # as Linux


class TraceError(ConvertError):
    """A trace has a line that is no path, or no path at all."""


def read_trace(lines: Iterable[bytes]) -> tuple[str, ...]:
    """Reads an access trace: one absolute path a line, in the order of the accesses.

    Empty lines and lines that begin with `#` are passed over, and a path counts where it is first named.

    Args:
        lines: of the trace, with or without their ends.

    Returns:
        The paths, as `ConvertOptions.prefetch` wants them.

    Raises:
        TraceError: a line that is not a path from the root, or no path at all: an empty list would be taken
            for none, which stands for everything.
    """
    paths: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        text = os.fsdecode(line.rstrip(b"\r\n"))
        if not text or text.startswith("#"):
            continue
        try:
            check_prefetch_path(text)
        except ValueError as error:
            raise TraceError(f"line {number} of the trace: {error}") from error
        paths[text] = None
    if not paths:
        raise TraceError("the trace names no path, so it does not say what to prefetch")
    return tuple(paths)


def find_prefetched(tree: FileTree, paths: Sequence[str]) -> list[int]:
    """The inodes that a prefetch table lists.

    A path may lead over symbolic links, which are followed inside the tree. What is not there, what has no
    content, and what is below a directory that stands earlier in the list is left out.

    Args:
        tree: a layer or an image.
        paths: absolute paths, the most urgent first.

    Returns:
        Directories and regular files, each once, in the order of the paths.
    """
    found: dict[int, None] = {}
    for path in paths:
        way = _walk(tree, os.fsencode(path))
        if way and _has_content(tree, way[-1]) and not any(inode in found for inode in way):
            found[way[-1]] = None
    return list(found)


def _has_content(tree: FileTree, inode: int) -> bool:
    return tree.is_directory(inode) or (stat.S_ISREG(tree.mode[inode]) and tree.size[inode] > 0)


def _walk(tree: FileTree, path: bytes) -> list[int]:
    """The inodes from the root to what a path means, or nothing if it means nothing."""
    way = [tree.ROOT]
    names = _names(path)
    links = 0
    while names:
        name = names.pop()
        if name == b"..":
            del way[max(1, len(way) - 1) :]
            continue
        inode = tree.lookup(way[-1], name)
        if inode is None:
            return []
        target = tree.symlink_target.get(inode)
        if target is None:
            way.append(inode)
            continue
        links += 1
        if links > MAX_LINKS_FOLLOWED:
            return []
        if target.startswith(b"/"):
            del way[1:]
        names += _names(target)
    return way


def _names(path: bytes) -> list[bytes]:
    """The components of a path, the last one first."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
