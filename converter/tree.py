"""A file tree in columns: inodes, and directories that map names to inodes, like a file system.

One tree holds one layer as its tar lists it, or the merged image. It is made for a million files: what every
inode has lies in columns of machine integers, what few have in dictionaries; there is no object for a file.

- An inode number is a position in the columns. Numbers are never reused. What no name leads to is not there.
- A hardlink is a second name for the same inode. Directories have one name.
- Whiteouts are not files: `whiteouts` and `opaque` say what a layer hides of the layers below it.
- A directory that the tar does not list but puts entries into is *implicit*: its own metadata mean nothing,
  and the merge takes those of the lower layers.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

WHITEOUT_PREFIX: Final = b".wh."
WHITEOUT_OPAQUE: Final = b".wh..wh..opq"
IMPLICIT_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o755  # what containerd gives it: archive/tar.go, mkparent

# All that `absorb` copies as they are.
_COPIED_COLUMNS: Final = (
    "mode", "uid", "gid", "mtime_s", "mtime_ns", "size", "rdev", "chunk_count", "chunk_refs",
)  # fmt: skip


class LowerLink(NamedTuple):
    """A hardlink whose target is not in its own layer: `name` in `directory` means the lower `target`.

    The directory does not have the name beside: what comes later in a tar takes the place of what was there.
    """

    directory: int
    name: bytes
    target: bytes  # path from the root, components separated by `/`, with no empty, `.` or `..` component


class FileTree:
    """Inodes and names of one layer or one image. A new tree is an implicit root directory.

    Columns, one item for each inode (`tree.mode[inode]`):

    - `mode`: file type and permission bits as in st_mode.
    - `uid`, `gid`: owner.
    - `mtime_s`, `mtime_ns`: whole seconds since 1970, may be negative, and nanoseconds from 0 to 999,999,999.
    - `size`: bytes of a regular file; bytes of a symlink's target; else 0.
    - `rdev`: device number of a device in the kernel's encoding (see `device_number`), else 0.
    - `explicit`: 1 if an entry of the tar stands behind it, 0 for an implicit directory.
    - `first_chunk`, `chunk_count`: a regular file's slice of `chunk_blob` and `chunk_refs`.

    Columns with one item for each use of a chunk, those of a file together and in order:

    - `chunk_blob`: which blob has the chunk, as the owner of the tree numbers them; in a layer's tree 0 is
      the layer's own blob and 1, 2, … are those of its chunk dictionary.
    - `chunk_refs`: index into the chunk table of that blob.

    Besides: `symlink_target`; `xattrs`, pairs of full name and value, sorted by name; `whiteouts`, names that
    a directory hides of lower layers; `opaque`, directories that hide all of them; `lower_links`.
    """

    ROOT: Final = 0

    def __init__(self) -> None:
        self.mode = array("I")
        self.uid = array("I")
        self.gid = array("I")
        self.mtime_s = array("q")
        self.mtime_ns = array("I")
        self.size = array("Q")
        self.rdev = array("I")
        self.explicit = bytearray()
        self.first_chunk = array("I")
        self.chunk_count = array("I")
        self.chunk_blob = array("H")
        self.chunk_refs = array("I")
        self.symlink_target: dict[int, bytes] = {}
        self.xattrs: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
        self.whiteouts: dict[int, set[bytes]] = {}
        self.opaque: set[int] = set()
        self.lower_links: list[LowerLink] = []
        self.memory_bytes = 0  # as estimated by `limits.count_memory`
        self._children: dict[int, dict[bytes, int]] = {}
        self.add_inode(mode=IMPLICIT_DIRECTORY_MODE, explicit=False)

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, npt.NDArray[Any]], children: dict[int, dict[bytes, int]]
    ) -> FileTree:
        """Makes a tree of explicit inodes at once, without chunks, symlink targets and xattrs.

        Args:
            columns: items of `mode`, `uid`, `gid`, `mtime_s`, `mtime_ns`, `size`, `rdev`; the root is first.
            children: the names of every directory; kept, not copied.
        """
        tree = cls()
        count = len(columns["mode"])
        for name, values in columns.items():
            items: array[int] = getattr(tree, name)
            items[:] = array(items.typecode, values.astype(items.typecode).tobytes())
        tree.explicit = bytearray(b"\1") * count
        for items in (tree.first_chunk, tree.chunk_count):
            items[:] = array(items.typecode, [0]) * count
        tree._children = children
        return tree

    def __len__(self) -> int:
        """Inodes ever added, reachable or not."""
        return len(self.mode)

    def add_inode(
        self,
        *,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        mtime_s: int = 0,
        mtime_ns: int = 0,
        size: int = 0,
        rdev: int = 0,
        explicit: bool = True,
    ) -> int:
        """Adds an inode that has no name yet.

        Returns:
            Its number.

        Raises:
            OverflowError: a value that its column cannot hold.
        """
        inode = len(self.mode)
        self.uid.append(uid)
        self.gid.append(gid)
        self.mtime_s.append(mtime_s)
        self.mtime_ns.append(mtime_ns)
        self.size.append(size)
        self.rdev.append(rdev)
        self.explicit.append(explicit)
        self.first_chunk.append(0)
        self.chunk_count.append(0)
        self.mode.append(mode)
        if mode & 0o170000 == stat.S_IFDIR:
            self._children[inode] = {}
        return inode

    def set_metadata(
        self,
        inode: int,
        *,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        mtime_s: int = 0,
        mtime_ns: int = 0,
    ) -> None:
        """Gives an inode the metadata of a (later) entry of the tar, which also makes it explicit.

        Raises:
            ValueError: `mode` is of another file type than the inode.
        """
        if stat.S_IFMT(mode) != stat.S_IFMT(self.mode[inode]):
            raise ValueError(f"inode {inode} cannot change its type from {self.mode[inode]:o} to {mode:o}")
        self.mode[inode] = mode
        self.uid[inode] = uid
        self.gid[inode] = gid
        self.mtime_s[inode] = mtime_s
        self.mtime_ns[inode] = mtime_ns
        self.explicit[inode] = 1

    def copy_metadata(self, source: int, target: int) -> None:
        """Gives `target` the metadata and xattrs of `source`, both directories, and makes it explicit."""
        self.set_metadata(
            target,
            mode=self.mode[source],
            uid=self.uid[source],
            gid=self.gid[source],
            mtime_s=self.mtime_s[source],
            mtime_ns=self.mtime_ns[source],
        )
        self.xattrs.pop(target, None)
        if source in self.xattrs:
            self.xattrs[target] = self.xattrs[source]

    def set_chunks(self, inode: int, first_chunk: int, chunk_count: int) -> None:
        """Says which slice of `chunk_blob` and `chunk_refs` holds a regular file's content."""
        self.first_chunk[inode] = first_chunk
        self.chunk_count[inode] = chunk_count

    def link(self, directory: int, name: bytes, inode: int) -> None:
        """Makes `name` in `directory` mean `inode`, whatever it meant before."""
        self._children[directory][name] = inode

    def unlink(self, directory: int, name: bytes) -> None:
        """Removes a name (of a directory: with all below it).

        Raises:
            KeyError: there is no such name.
        """
        del self._children[directory][name]

    def clear(self, directory: int) -> None:
        """Removes all names of a directory."""
        self._children[directory].clear()

    def dissolve(self, directory: int) -> dict[bytes, int]:
        """Ends a directory that no name leads to, and returns the names that it had."""
        return self._children.pop(directory)

    def lookup(self, directory: int, name: bytes) -> int | None:
        """The inode that `name` in `directory` means, or None; None too if `directory` is not a directory."""
        names = self._children.get(directory)
        return None if names is None else names.get(name)

    def children(self, directory: int) -> dict[bytes, int]:
        """The names of a directory, in no particular order: not a copy, changed only by `link` and `unlink`.

        Raises:
            KeyError: `directory` is not a directory.
        """
        return self._children[directory]

    def is_directory(self, inode: int) -> bool:
        """Whether the inode is a directory."""
        return inode in self._children

    def hide(self, directory: int, name: bytes) -> None:
        """Records a whiteout: `name` of the layers below is not there."""
        self.whiteouts.setdefault(directory, set()).add(name)

    def absorb(self, other: FileTree, blobs: Sequence[int]) -> int:
        """Takes over all inodes and directories of a layer's tree, which is used up by that.

        Its whiteouts and links to lower layers stay behind: they mean nothing without the layers below.

        Args:
            other: the layer's tree.
            blobs: what to call here each blob that the tree has chunks of, by its number there.

        Returns:
            What to add to an inode number of `other` to get its number here.
        """
        base = len(self)
        first_chunk = np.frombuffer(other.first_chunk, np.uint32) + np.uint32(len(self.chunk_refs))
        self.first_chunk.frombytes(first_chunk.tobytes())
        chunk_blob = np.array(blobs, np.uint16)[np.frombuffer(other.chunk_blob, np.uint16)]
        self.chunk_blob.frombytes(chunk_blob.tobytes())
        self.explicit += other.explicit
        for column in _COPIED_COLUMNS:
            getattr(self, column).extend(getattr(other, column))
        self.symlink_target.update((inode + base, target) for inode, target in other.symlink_target.items())
        self.xattrs.update((inode + base, xattrs) for inode, xattrs in other.xattrs.items())
        while other._children:
            directory, names = other._children.popitem()
            self._children[directory + base] = {name: inode + base for name, inode in names.items()}
        return base

    def with_whiteout_files(self) -> FileTree:
        """The tree with each whiteout as the empty file that stands for it in a tar (OCI layer.md).

        Returns:
            This tree if it has no whiteouts, else a new one that shares nothing that may change.
        """
        if not self.whiteouts and not self.opaque:
            return self
        copy = deepcopy(self)
        for directory, names in self.whiteouts.items():
            for name in names:
                copy.link(directory, WHITEOUT_PREFIX + name, copy.add_inode(mode=stat.S_IFREG))
        for directory in self.opaque:
            copy.link(directory, WHITEOUT_OPAQUE, copy.add_inode(mode=stat.S_IFREG))
        return copy

    def walk(self) -> Iterator[tuple[int, bytes, int]]:
        """Every name as (directory, name, inode): the names of a directory sorted, then its subdirectories.

        This is the order in which RAFS places inodes and numbers them (docs/nydus-image.md §3.9).
        """
        stack = [self.ROOT]
        while stack:
            directory = stack.pop()
            names = self._children[directory]
            below = []
            for name in sorted(names):
                inode = names[name]
                yield directory, name, inode
                if inode in self._children:
                    below.append(inode)
            stack.extend(reversed(below))


def device_number(major: int, minor: int) -> int:
    """The kernel's 32-bit encoding of a device number (Linux `include/linux/kdev_t.h`, new_encode_dev).

    Raises:
        ValueError: `major` over 12 bits or `minor` over 20.
    """
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise ValueError(f"device number {major}:{minor} does not fit into 12 and 20 bits")
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
