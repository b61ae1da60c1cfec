"""Unpacks layers into directories that overlayfs lays over each other: by the rules, with real system calls.

The rules are those of docs/containerd-unpacking.md, column "we". Nothing of the converter is used, and what
the kernel decides is left to it: what a directory hides, what takes the place of what, what a hardlink means.
Needs root, and a file system with `trusted.*` attributes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
)
from tests.trees import Tree

_OPAQUE = b"trusted.overlay.opaque"
_WHITEOUT = os.makedev(0, 0)
_MAX_LINKS = 255


class RefusedError(Exception):
    """A layer cannot be unpacked.

    Attributes:
        number: of the entry that is the reason.
    """

    number: int


@dataclass
class LayerDirectory:
    """One layer, as an upper directory of overlayfs.

    Args:
        root: an empty directory.
        lowers: the directories of the layers below, the highest first.
        below: what the kernel shows of those.
    """

    root: Path
    lowers: Sequence[Path]
    below: Tree
    implicit: set[bytes] = field(default_factory=set)  # directories that no entry lists so far
    fresh: set[bytes] = field(
        default_factory=set
    )  # directories made where a whiteout was: all below is hidden
    times: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # of listed directories
    # Hardlinks to lower files: by their own paths, their targets and the numbers of their entries.
    pending: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    def unpack(self, entries: Sequence[Entry]) -> None:
        """Unpacks all entries.

        Raises:
            RefusedError: one of them cannot be.
        """
        for number, entry in enumerate(entries):
            with _blaming(number):
                self._add(entry, number)
        self._link_lower_files()
        for path in self.implicit:
            self._inherit(path)
        for path, times in self.times.items():
            os.utime(self._real(path), ns=(0, times[0] * 10**9 + times[1]))

    def _add(self, entry: Entry, number: int) -> None:
        parts = [part for part in entry.name.split(b"/") if part not in (b"", b".")]
        parent = self._directory(parts[:-1])
        name = parts[-1]
        if name == b".wh..wh..opq":
            if parent:
                os.setxattr(self._real(parent), _OPAQUE, b"y")
            return
        if name.startswith(b".wh."):
            path = _join(parent, name[4:])
            self._remove(path)
            os.mknod(self._real(path), stat.S_IFCHR, _WHITEOUT)
            return
        self._place(_join(parent, name), entry, number)

    def _place(self, path: bytes, entry: Entry, number: int) -> None:
        kind = self._kind(path)
        if entry.kind == DIRECTORY and kind == stat.S_IFDIR:
            self._apply(path, entry)
            return
        if entry.kind == HARDLINK:
            self._hardlink(path, entry, number)
            return
        self._remove(path)
        real = self._real(path)
        if entry.kind == REGULAR:
            real.write_bytes(entry.content)
        elif entry.kind == DIRECTORY:
            real.mkdir()
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, os.fsencode(real))
        elif entry.kind == FIFO:
            os.mkfifo(real)
        else:
            kinds = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}
            os.mknod(real, kinds[entry.kind], os.makedev(*entry.device))
            if entry.kind == CHAR and entry.device == (0, 0):
                return
        self._apply(path, entry)

    def _apply(self, path: bytes, entry: Entry) -> None:
        """Gives a file the metadata of an entry."""
        real = os.fsencode(self._real(path))
        kind = stat.S_IFMT(os.lstat(real).st_mode)
        os.lchown(real, entry.uid, entry.gid)
        if kind != stat.S_IFLNK:
            os.chmod(real, entry.mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            for name, value in entry.xattrs.items():
                os.setxattr(real, name, value, follow_symlinks=False)
        os.utime(real, ns=(0, entry.mtime * 10**9), follow_symlinks=False)
        if kind == stat.S_IFDIR:
            self.implicit.discard(path)
            self.times[path] = (entry.mtime, 0)

    def _hardlink(self, path: bytes, entry: Entry, number: int) -> None:
        parts = [part for part in entry.link.split(b"/") if part not in (b"", b".")]
        if b"/".join(parts) == b"/".join(part for part in entry.name.split(b"/") if part not in (b"", b".")):
            raise RefusedError("a hardlink to itself")
        self._remove(path)
        found, missing = self._follow(parts[:-1])
        target = b"/".join([*([found] if found else []), *missing, parts[-1]])
        kind = None if missing else self._kind(target)
        if kind is None:
            self.pending[path] = self.pending.get(target, (target, 0))[0], number
        elif kind == stat.S_IFDIR:
            raise RefusedError(f"{path!r} is a hardlink to the directory {target!r}")
        else:
            os.link(self._real(target), self._real(path), follow_symlinks=False)
            self._apply(path, entry)

    def _link_lower_files(self) -> None:
        made: set[bytes] = set()
        for path, (target, number) in self.pending.items():
            with _blaming(number):
                source = self._real(target) if target in made else self._lower_file(target, made)
            os.link(source, self._real(path), follow_symlinks=False)
            made.add(path)

    def _lower_file(self, target: bytes, made: set[bytes]) -> Path:
        """The file of a lower layer that a path means, if this layer does not hide it."""
        parts = target.split(b"/")
        for depth in range(len(parts)):
            above = b"/".join(parts[:depth])
            kind = self._kind(above) if above else stat.S_IFDIR
            if kind is None:
                break
            if kind != stat.S_IFDIR or above in made or self._hides(above, parts[depth]):
                raise RefusedError(f"the target {target!r} is hidden")
        node = self.below.get(target)
        if node is None or node.kind == "directory":
            raise RefusedError(f"the target {target!r} is not there")
        return next(lower for layer in self.lowers if os.path.lexists(lower := layer / os.fsdecode(target)))

    def _hides(self, directory: bytes, name: bytes) -> bool:
        path = _join(directory, name)
        return self._is_opaque(directory) or self._is_whiteout(path) or path in self.fresh

    def _inherit(self, path: bytes) -> None:
        """Gives an unlisted directory what the lower layers' has, if that is to be seen; time and all."""
        real, node = self._real(path), self.below.get(path)
        parts = path.split(b"/")
        above = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
        hidden = path in self.fresh or any(self._is_opaque(one) for one in above)
        os.chown(real, 0, 0)
        os.chmod(real, 0o755)
        self.times[path] = (0, 0)
        if node is not None and node.kind == "directory" and not hidden:
            os.chown(real, node.uid, node.gid)
            os.chmod(real, node.mode)
            for name, value in node.xattrs:
                os.setxattr(real, name, value)
            assert node.mtime_s is not None
            self.times[path] = (node.mtime_s, 0)

    def _directory(self, parts: Sequence[bytes]) -> bytes:
        """The path of a directory, which is made where it is missing."""
        path, missing = self._follow(parts)
        for name in missing:
            path = _join(path, name)
            is_whiteout = self._is_whiteout(path)
            self._remove(path)
            self._real(path).mkdir()
            if is_whiteout:
                os.setxattr(self._real(path), _OPAQUE, b"y")
                self.fresh.add(path)
            self.implicit.add(path)
        return path

    def _follow(self, parts: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        """Goes along a path as far as this layer has it, over its symlinks; gives where and the rest."""
        at: list[bytes] = []
        ahead, links = list(parts), 0
        while ahead:
            name = ahead.pop(0)
            if name == b"..":
                del at[-1:]
                continue
            path = b"/".join([*at, name])
            kind = self._kind(path)
            if kind is None:
                return b"/".join(at), [name, *ahead]
            if kind == stat.S_IFDIR:
                at.append(name)
            elif kind == stat.S_IFLNK:
                links += 1
                if links > _MAX_LINKS:
                    raise RefusedError("too many symlinks")
                target = os.path.normpath(os.readlink(os.fsencode(self._real(path))))
                if target.startswith(b"/"):
                    at = []
                ahead[:0] = [part for part in target.split(b"/") if part not in (b"", b".")]
            else:
                raise RefusedError(f"{path!r} is no directory")
        return b"/".join(at), []

    def _remove(self, path: bytes) -> None:
        real = self._real(path)
        if os.path.lexists(real):
            shutil.rmtree(real) if self._is_directory(real) else real.unlink()
        for table in (self.times, self.pending):
            for known in [known for known in table if _is_in(known, path)]:
                del table[known]
        for paths in (self.implicit, self.fresh):
            paths -= {known for known in paths if _is_in(known, path)}

    def _kind(self, path: bytes) -> int | None:
        """The file type at a path of this layer; None for nothing, and for a whiteout, which is nothing."""
        real = self._real(path)
        if not os.path.lexists(real) or self._is_whiteout(path):
            return None
        return stat.S_IFMT(os.lstat(real).st_mode)

    def _is_whiteout(self, path: bytes) -> bool:
        real = self._real(path)
        status = os.lstat(real) if os.path.lexists(real) else None
        return status is not None and stat.S_ISCHR(status.st_mode) and status.st_rdev == _WHITEOUT

    def _is_opaque(self, path: bytes) -> bool:
        real = self._real(path)
        return self._is_directory(real) and _OPAQUE in map(os.fsencode, os.listxattr(real))

    @staticmethod
    def _is_directory(real: Path) -> bool:
        return real.is_dir() and not real.is_symlink()

    def _real(self, path: bytes) -> Path:
        return self.root / os.fsdecode(path)


@contextmanager
def _blaming(number: int) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        error.number = number
        raise


def _is_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory + b"/")


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name
