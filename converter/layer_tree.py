"""Turns the entries of a layer's tar into a file tree, as container engines would unpack them.

The yardstick is containerd (`pkg/archive/tar.go` and `tar_opts_linux.go` at 301026e5), which unpacks a layer
into the upper directory of an overlay: what it does in a case not mentioned in the OCI image specification is
done here, too. So:

- A later entry replaces an earlier one of the same path. Only a directory over a directory keeps what is in
  it.
- Symbolic links of this layer are followed on the way to an entry, and never lead out of the root.
- A hard link means the file itself, whatever that is by then; its own metadata become those of the file.
- A whiteout also removes what this layer has listed under that name before. An entry listed after its
  whiteout takes the place of the whiteout.
- The root's own entry says nothing but a time: engines make the root themselves. That it is opaque says
  nothing either.
- A character device 0:0 is overlayfs's own whiteout.
- Times before 1970 or after 2262 become 1970. `trusted.*` and other attributes that cannot be set are left
  out.

Different from containerd, paths that are absolute or have a `..` in them are refused, not bent into shape,
and a hard link may mean a file of a lower layer.
"""

from __future__ import annotations

import posixpath
import stat
from typing import Final

from converter import layer_metadata as metadata
from converter.errors import InvalidLayerError, LimitExceededError
from converter.limits import DIRECTORY_BYTES, ENTRY_BYTES, XATTR_BYTES, count_memory
from converter.rafs.layout import MAX_NAME_LENGTH
from converter.rafs.xattrs import encode_xattrs
from converter.tar import Entry, EntryType
from converter.tar.paths import MAX_PATH_LENGTH, normalise, show
from converter.tree import FileTree, LowerLink

MAX_LINKS_FOLLOWED: Final = 255

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_RESERVED: Final = b".wh..wh."  # what aufs kept for itself; engines take no notice
# eStargz's own entries (stargz-snapshotter docs/estargz.md), which are no files of the image.
_ESTARGZ: Final = frozenset((b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"))
_DEVICES: Final = frozenset((EntryType.CHARACTER_DEVICE, EntryType.BLOCK_DEVICE))
_SYMLINK_MODE: Final = stat.S_IFLNK | 0o777  # Linux has no other


class LayerTree:
    """Builds the tree of one layer.

    Attributes:
        tree: the tree so far.
    """

    def __init__(self) -> None:
        self.tree = FileTree()
        self._resolved: dict[bytes, int] = {b"": FileTree.ROOT}  # directories by path, as entries write them
        self._lower_links: dict[tuple[int, bytes], bytes] = {}

    def add(self, entry: Entry) -> int | None:
        """Adds an entry.

        Returns:
            The inode of a regular file, whose chunks the caller has to set if it has a size; None if the
            entry has no content, or none that counts.

        Raises:
            InvalidLayerError: the entry cannot be unpacked.
            LimitExceededError: a name or path is too long, or the layer has too much of all.
        """
        size = len(entry.path) + len(entry.linkname)
        count_memory(
            self.tree, size + (DIRECTORY_BYTES if entry.type is EntryType.DIRECTORY else ENTRY_BYTES)
        )
        path = normalise(entry.path)
        parent, _, name = path.rpartition(b"/")
        if not parent and (not name or name in _ESTARGZ):
            if not name:
                self._touch_root(entry)
            return None
        directory = self._resolved.get(parent)
        if directory is None:
            directory = self._make_directories(parent)
        if name.startswith(_WHITEOUT):
            self._hide(directory, name)
            return None
        if len(name) > MAX_NAME_LENGTH:
            raise LimitExceededError(f"{show(path)}: the name has over {MAX_NAME_LENGTH} bytes")
        return self._place(directory, name, path, entry)

    def finish(self) -> FileTree:
        """The complete tree."""
        if self._lower_links:
            reachable = {self.tree.ROOT, *(inode for _, _, inode in self.tree.walk())}
            self.tree.lower_links = [
                LowerLink(directory, name, target)
                for (directory, name), target in self._lower_links.items()
                if directory in reachable
            ]
        return self.tree

    def _place(self, directory: int, name: bytes, path: bytes, entry: Entry) -> int | None:
        tree = self.tree
        existing = tree.lookup(directory, name)
        if existing is not None and entry.type is EntryType.DIRECTORY and tree.is_directory(existing):
            self._apply_metadata(existing, entry)
            return None
        self._remove(directory, name)
        if entry.type is EntryType.CHARACTER_DEVICE and not (entry.major or entry.minor):
            tree.hide(directory, name)
            return None
        if hidden := tree.whiteouts.get(directory):
            hidden.discard(name)
        if entry.type is EntryType.HARDLINK:
            self._link(directory, name, path, entry)
            return None
        inode = self._create(path, entry)
        tree.link(directory, name, inode)
        return inode if entry.type is EntryType.FILE else None

    def _create(self, path: bytes, entry: Entry) -> int:
        tree, kind = self.tree, entry.type
        mtime_s, mtime_ns = metadata.bounded_time(entry)
        mode, size, rdev = kind | (entry.mode & 0o7777), entry.size, 0
        if kind is EntryType.SYMLINK:
            mode, size = _SYMLINK_MODE, len(entry.linkname)
            if not 0 < size <= MAX_PATH_LENGTH:
                raise InvalidLayerError(f"{show(path)} is a symbolic link with a target of {size} bytes")
        elif kind in _DEVICES:
            rdev = metadata.device(path, entry)
        uid, gid = metadata.owner(path, entry)
        inode = tree.add_inode(
            mode=mode, uid=uid, gid=gid, mtime_s=mtime_s, mtime_ns=mtime_ns, size=size, rdev=rdev
        )
        if kind is EntryType.SYMLINK:
            tree.symlink_target[inode] = entry.linkname
        if entry.xattrs:
            self._add_xattrs(inode, path, entry)
        return inode

    def _apply_metadata(self, inode: int, entry: Entry) -> None:
        """Gives a file that is there the metadata of one more entry."""
        tree = self.tree
        uid, gid = metadata.owner(entry.path, entry)
        mtime_s, mtime_ns = metadata.bounded_time(entry)
        kind = stat.S_IFMT(tree.mode[inode])
        mode = _SYMLINK_MODE if kind == stat.S_IFLNK else kind | (entry.mode & 0o7777)
        tree.set_metadata(inode, mode=mode, uid=uid, gid=gid, mtime_s=mtime_s, mtime_ns=mtime_ns)
        if entry.xattrs:
            self._add_xattrs(inode, entry.path, entry)

    def _touch_root(self, entry: Entry) -> None:
        tree = self.tree
        mtime_s, mtime_ns = metadata.bounded_time(entry)
        tree.set_metadata(
            tree.ROOT, mode=tree.mode[tree.ROOT], uid=0, gid=0, mtime_s=mtime_s, mtime_ns=mtime_ns
        )

    def _link(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        target = normalise(entry.linkname)
        if target == path or not target:
            raise InvalidLayerError(f"{show(path)} is a hard link to {'itself' if target else 'the root'}")
        parent, _, base = target.rpartition(b"/")
        inodes, names, missing = self._follow(parent)
        inode = None if missing else self.tree.lookup(inodes[-1], base)
        if inode is None:
            lower = b"/".join((*names, *missing, base))
            self._lower_links[directory, name] = self._lower_links.get((inodes[-1], base), lower)
            return
        if self.tree.is_directory(inode):
            raise InvalidLayerError(f"{show(path)} is a hard link to the directory {show(target)}")
        self.tree.link(directory, name, inode)
        self._apply_metadata(inode, entry)

    def _hide(self, directory: int, name: bytes) -> None:
        if name == _OPAQUE:
            if directory != self.tree.ROOT:  # overlayfs does not ask whether the root is opaque
                self.tree.opaque.add(directory)
            return
        if name.startswith(_RESERVED):
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InvalidLayerError(f"{show(name)} is a whiteout that names no file")
        self._remove(directory, hidden)
        self.tree.hide(directory, hidden)

    def _remove(self, directory: int, name: bytes) -> None:
        """Removes what this layer has under a name, if anything."""
        if self._lower_links:
            self._lower_links.pop((directory, name), None)
        inode = self.tree.lookup(directory, name)
        if inode is None:
            return
        self.tree.unlink(directory, name)
        if self.tree.is_directory(inode) or inode in self.tree.symlink_target:
            self._resolved = {b"": FileTree.ROOT}

    def _make_directories(self, path: bytes) -> int:
        """Finds a directory; adds what is missing of it, implicitly."""
        inodes, _, missing = self._follow(path)
        directory = inodes[-1]
        for name in missing:
            if len(name) > MAX_NAME_LENGTH:
                raise LimitExceededError(f"{show(path)}: a name has over {MAX_NAME_LENGTH} bytes")
            if self._lower_links:
                self._lower_links.pop((directory, name), None)
            count_memory(self.tree, DIRECTORY_BYTES)
            inode = self.tree.add_inode(mode=stat.S_IFDIR | 0o755, explicit=False)
            self.tree.link(directory, name, inode)
            directory = inode
        self._resolved[path] = directory
        return directory

    def _follow(self, path: bytes) -> tuple[list[int], list[bytes], list[bytes]]:
        """Goes along a path from the root, following symbolic links, as far as this layer has it.

        Returns:
            The inodes of the directories passed, the root first; their names; and the names that are missing.

        Raises:
            InvalidLayerError: there is something else than a directory on the way, or too many links.
        """
        tree, links = self.tree, 0
        inodes, names = [tree.ROOT], list[bytes]()
        ahead = path.split(b"/")[::-1] if path else []
        while ahead:
            name = ahead.pop()
            if name in (b"..", b"."):  # of a link's target; the root is its own parent
                if name == b".." and names:
                    names.pop()
                    inodes.pop()
                continue
            inode = tree.lookup(inodes[-1], name)
            if inode is None:
                return inodes, names, [name, *reversed(ahead)]
            target = tree.symlink_target.get(inode)
            if target is not None:
                links += 1
                if links > MAX_LINKS_FOLLOWED:
                    raise InvalidLayerError(f"{show(path)} leads through too many symbolic links")
                if target.startswith(b"/"):
                    inodes, names = [tree.ROOT], []
                # Engines clean the target as a text, before they follow it.
                ahead.extend(posixpath.normpath(target).strip(b"/").split(b"/")[::-1])
                ahead = [part for part in ahead if part]
            elif tree.is_directory(inode):
                inodes.append(inode)
                names.append(name)
            else:
                other = show(b"/".join((*names, name)))
                raise InvalidLayerError(f"{show(path)} leads through {other}, which is not a directory")
        return inodes, names, []

    def _add_xattrs(self, inode: int, path: bytes, entry: Entry) -> None:
        """Adds an entry's attributes to those an inode has."""
        tree = self.tree
        added = metadata.settable_xattrs(entry.xattrs, stat.S_IFMT(tree.mode[inode]))
        if not added:
            return
        count_memory(tree, sum(XATTR_BYTES + 3 * (len(name) + len(value)) for name, value in added.items()))
        merged = tuple(sorted((dict(tree.xattrs.get(inode, ())) | added).items()))
        try:
            encode_xattrs(merged)
        except LimitExceededError as error:
            raise LimitExceededError(f"{show(path)}: {error}") from error
        tree.xattrs[inode] = merged
