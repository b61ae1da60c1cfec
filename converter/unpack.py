"""Unpacks the files of a Nydus image into a directory, as far as the caller's rights go.

Nothing outside of the directory is touched: every file is made relative to an open directory that was made
here, and no symbolic link is ever followed. As root the result is the image's tree to the last attribute;
without root, what the kernel does not let a user set is left out, counted, and told.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from converter.errors import ConvertError
from converter.nydus_image import NydusImage
from converter.progress import NO_PROGRESS, Progress
from converter.tree import FileTree
from converter.tree_compare import show_path

_EXAMPLES: Final = 3
_ATTRIBUTES: Final = "attributes"
_PRIVATE: Final = 0o700  # of directories while they are filled
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_REFUSALS: Final = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.EOVERFLOW))
# What file systems say of an attribute that they have no room for beside the inode.
_TOO_LARGE: Final = frozenset((errno.ENOSPC, errno.E2BIG, errno.ERANGE))
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnpackError(ConvertError):
    """The directory cannot be used."""


@dataclass(slots=True)
class UnpackReport:
    """What was made, and what was not.

    Args:
        names: files, directories and links that were made.
        file_bytes: content that was written or left as a hole.
        left_out: how often each kind of thing could not be made or set.
        examples: some paths for each kind.
    """

    names: int = 0
    file_bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, what: str, path: bytes) -> None:
        """Counts something that the kernel refused."""
        self.left_out[what] += 1
        examples = self.examples.setdefault(what, [])
        if len(examples) < _EXAMPLES:
            examples.append(show_path(path))


def unpack(image: NydusImage, directory: Path, progress: Progress = NO_PROGRESS) -> UnpackReport:
    """Makes the files of an image.

    Args:
        image: what to unpack.
        directory: a directory that is empty or not there yet; it becomes the root of the tree.
        progress: told how much content is written, as stage "unpack".

    Raises:
        UnpackError: the directory is not empty.
        BlobError: content does not match its digest; what was made so far stays.
        OSError: the directory cannot be written to.
        Exception: whatever reading the image raises.
    """
    directory.mkdir(parents=True, exist_ok=True)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.listdir(root):
            raise UnpackError(f"{directory} is not empty: name a directory that is, or none")
        os.fchmod(root, _PRIVATE)
        return _Unpacker(image, root, progress).run()
    finally:
        os.close(root)


class _Unpacker:
    def __init__(self, image: NydusImage, root: int, progress: Progress) -> None:
        self._image = image
        self._tree = image.bootstrap.tree
        self._root = root
        self._progress = progress
        self._report = UnpackReport()
        self._total = int(np.sum(np.frombuffer(self._tree.size, np.uint64)))
        self._first_path: dict[int, bytes] = {}  # of inodes with several names, once they are made
        self._several = _inodes_with_several_names(self._tree)

    def run(self) -> UnpackReport:
        """Goes through the tree; only the directory that is being filled is open."""
        here = os.dup(self._root)
        todo: list[tuple[int, bytes, Iterator[tuple[bytes, int]]]] = []
        inode, path = self._tree.ROOT, b""
        names = self._names(inode)
        try:
            while True:
                step = next(names, None)
                if step is None:
                    self._set_metadata(inode, path, here)
                    if not todo:
                        return self._report
                    inode, path, names = todo.pop()
                    here = _replace(here, os.open("..", _OPEN_DIRECTORY, dir_fd=here))
                    continue
                name, child = step
                below = path + b"/" + name if path else name
                if not self._tree.is_directory(child):
                    self._make(child, name, below, here)
                    continue
                os.mkdir(name, _PRIVATE, dir_fd=here)
                self._report.names += 1
                todo.append((inode, path, names))
                inode, path, names = child, below, self._names(child)
                here = _replace(here, os.open(name, _OPEN_DIRECTORY, dir_fd=here))
        finally:
            os.close(here)

    def _names(self, directory: int) -> Iterator[tuple[bytes, int]]:
        return iter(sorted(self._tree.children(directory).items()))

    def _make(self, inode: int, name: bytes, path: bytes, here: int) -> None:
        """Makes anything but a directory."""
        first = self._first_path.get(inode)
        if first is not None:
            os.link(first, name, src_dir_fd=self._root, dst_dir_fd=here, follow_symlinks=False)
        else:
            kind = stat.S_IFMT(self._tree.mode[inode])
            if kind == stat.S_IFREG:
                self._make_file(inode, name, path, here)
            elif kind == stat.S_IFLNK:
                os.symlink(self._tree.symlink_target[inode], name, dir_fd=here)
                self._set_metadata(inode, path, here, name)
            elif self._try("device nodes", path, lambda: self._make_node(inode, name, here)):
                self._set_metadata(inode, path, here, name)
            else:
                return
            if inode in self._several:
                self._first_path[inode] = path
        self._report.names += 1

    def _make_file(self, inode: int, name: bytes, path: bytes, here: int) -> None:
        size = self._tree.size[inode]
        file = os.open(name, _CREATE, 0o600, dir_fd=here)
        try:
            for piece in self._image.content(inode):
                if piece.count(0) == len(piece):
                    os.lseek(file, len(piece), os.SEEK_CUR)
                else:
                    _write(file, piece)
            os.ftruncate(file, size)
            self._set_metadata(inode, path, file)
        finally:
            os.close(file)
        self._report.file_bytes += size
        self._progress.advance("unpack", self._report.file_bytes, self._total)

    def _make_node(self, inode: int, name: bytes, here: int) -> None:
        rdev = self._tree.rdev[inode]
        major, minor = rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00
        kind = stat.S_IFMT(self._tree.mode[inode])
        os.mknod(name, kind | 0o600, os.makedev(major, minor), dir_fd=here)

    def _set_metadata(self, inode: int, path: bytes, file: int, name: bytes | None = None) -> None:
        """Sets all metadata of a file.

        Args:
            inode: the file.
            path: for people.
            file: the open file itself; or the directory that has it, if it cannot be opened.
            name: in that directory.
        """
        tree = self._tree
        mode = stat.S_IMODE(tree.mode[inode])
        times = (tree.mtime_s[inode] * 10**9 + tree.mtime_ns[inode],) * 2
        # Giving a file away takes its capabilities and its set-id bits, so that comes first.
        owned = self._try("owners", path, lambda: _change_owner(file, name, tree.uid[inode], tree.gid[inode]))
        for key, value in tree.xattrs.get(inode, ()):
            kind = f"{_ATTRIBUTES} {key.partition(b'.')[0].decode(errors='replace')}.*"
            self._try(kind, path, lambda key=key, value=value: _set_xattr(file, name, key, value))  # type: ignore[misc]
        if not stat.S_ISLNK(tree.mode[inode]):
            if not owned and mode & _SET_ID and not tree.is_directory(inode):
                # The file belongs to somebody else than it should, whose rights it would hand out.
                self._report.leave_out("set-id bits", path)
                mode &= ~_SET_ID
            if name is None:
                os.fchmod(file, mode)
            else:
                os.chmod(name, mode, dir_fd=file)
        self._try("times", path, lambda: _set_times(file, name, times))

    def _try(self, what: str, path: bytes, action: Callable[[], None]) -> bool:
        """Does something that the kernel may refuse, which is told then."""
        try:
            action()
        except OverflowError:
            self._report.leave_out(what, path)
            return False
        except OSError as error:
            too_large = what.startswith(_ATTRIBUTES) and error.errno in _TOO_LARGE
            if error.errno not in _REFUSALS and not too_large:
                raise
            self._report.leave_out(what, path)
            return False
        return True


def _inodes_with_several_names(tree: FileTree) -> set[int]:
    seen, several = set[int](), set[int]()
    for _, _, inode in tree.walk():
        if inode in seen:
            several.add(inode)
        seen.add(inode)
    return several


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _change_owner(file: int, name: bytes | None, uid: int, gid: int) -> None:
    if name is None:
        os.fchown(file, uid, gid)
    else:
        os.chown(name, uid, gid, dir_fd=file, follow_symlinks=False)


def _set_xattr(file: int, name: bytes | None, key: bytes, value: bytes) -> None:
    if name is None:
        os.setxattr(file, key, value)
    else:
        # There is no call relative to an open directory; the path through /proc means the same.
        os.setxattr(b"/proc/self/fd/%d/%b" % (file, name), key, value, follow_symlinks=False)


def _set_times(file: int, name: bytes | None, times: tuple[int, int]) -> None:
    if name is None:
        os.utime(file, ns=times)
    else:
        os.utime(name, ns=times, dir_fd=file, follow_symlinks=False)
