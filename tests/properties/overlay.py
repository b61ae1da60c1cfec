"""What the kernel's overlayfs shows of layers. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.images.tar import Entry
from tests.properties.unpack import LayerDirectory, RefusedError
from tests.trees import Tree, reachable, snapshot

Layer = tuple[Entry, ...]

_MS_RDONLY = 1  # linux/mount.h


@contextmanager
def memory_file_system(directory: Path) -> Iterator[Path]:
    """A tmpfs at a directory: layers on it may have all that overlayfs wants of a file system."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "layers", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def mended(layers: Sequence[Layer], place: Path) -> tuple[list[Layer], Tree]:
    """Unpacks layers, the lowest first, and reads what overlayfs shows of them.

    Args:
        layers: their entries.
        place: a directory on a `memory_file_system`; left as it was.

    Returns:
        The layers without the entries that cannot be unpacked, and what is shown of those.
    """
    kept = []
    with Stack(place) as stack:
        for layer in layers:
            left = list(layer)
            while True:
                try:
                    stack.add(left)
                except RefusedError as error:
                    del left[error.number]
                else:
                    break
            kept.append(tuple(left))
        return kept, stack.shown


class Stack:
    """Layers on top of each other; a context manager, which removes them at its end.

    Args:
        place: a directory on a `memory_file_system`.

    Attributes:
        shown: what overlayfs shows of those added so far.
    """

    def __init__(self, place: Path) -> None:
        self._work = Path(tempfile.mkdtemp(dir=place))
        self._mountpoint, bottom = self._work / "mnt", self._work / "bottom"
        self._mountpoint.mkdir()
        bottom.mkdir()  # overlayfs wants two layers at least
        self._lowers = [bottom]
        self.shown: Tree = snapshot(bottom)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._work)

    def add(self, entries: Sequence[Entry]) -> None:
        """Lays a layer on top.

        Raises:
            RefusedError: it cannot be unpacked; nothing is changed.
        """
        upper = self._work / str(len(self._lowers))
        upper.mkdir()
        try:
            LayerDirectory(upper, self._lowers, self.shown).unpack(entries)
        except RefusedError:
            shutil.rmtree(upper)
            raise
        self._lowers.insert(0, upper)
        with _overlay(self._lowers, self._mountpoint):
            self.shown = reachable(snapshot(self._mountpoint))


@contextmanager
def _overlay(lowers: Sequence[Path], mountpoint: Path) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    options = b"lowerdir=" + b":".join(os.fsencode(lower) for lower in lowers)
    target = os.fsencode(mountpoint)
    if libc.mount(b"overlay", target, b"overlay", _MS_RDONLY, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(mountpoint))
    try:
        yield
    finally:
        if libc.umount2(target, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(mountpoint))
