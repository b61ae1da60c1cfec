"""Turns a Nydus image back into a plain OCI image of one layer, which unpacks to the same tree.

The layers of the source cannot be told from the merged tree, so there is one; the config keeps the source's
history, whose entries then have no layer of their own, and everything else. Equal images give equal bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converter.classify import Kind, classify
from converter.errors import InvalidImageError, UnsupportedImageError
from converter.gzip_file import GzipFile
from converter.image_documents import HISTORY_ENTRY, encode_config, encode_manifest, parse_config
from converter.nydus_image import NydusImage
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.progress import NO_PROGRESS, Progress
from converter.tar import Entry, EntryType
from converter.tar.paths import show
from converter.tar.writer import END, encode_header, padding
from converter.tree import WHITEOUT_PREFIX, FileTree

_CREATED_BY: Final = "dragonhook export"
_SNAPSHOT_PREFIX: Final = "containerd.io/snapshot/nydus-"
_OUR_PREFIX: Final = "dev.dragonhook."


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """A plain image.

    Args:
        manifest: its OCI manifest.
        config: its config.
        layer: descriptor of its layer.
        path: file of the layer.
    """

    manifest: ImageManifest
    config: bytes
    layer: Descriptor
    path: Path


def export_image(image: NydusImage, work_dir: Path, progress: Progress = NO_PROGRESS) -> ExportedImage:
    """Makes a plain image.

    Args:
        image: what to export.
        work_dir: an existing directory for the layer, which the caller removes.
        progress: told how much content is written, as stage "export".

    Raises:
        UnsupportedImageError: the tree has something that no layer can hold: a socket, or a name or device
            that means a whiteout there.
        InvalidImageError: the config of the image is broken.
        BlobError: content does not match its digest.
        OSError: the work directory cannot be written to.
        Exception: whatever reading the image raises.
    """
    path = work_dir / "layer.tar.gz"
    with path.open("wb") as file:
        out = GzipFile(file)
        for piece in layer_tar(image, progress):
            out.write(piece)
        digest, size, diff_id = out.finish()
    layer = Descriptor(media_types.OCI_LAYER_GZIP, digest, size)
    config = _config(image, diff_id)
    manifest = _manifest(image.manifest, config, layer)
    return ExportedImage(manifest, config, layer, path)


def layer_tar(image: NydusImage, progress: Progress = NO_PROGRESS) -> Iterator[bytes]:
    """The tar of all files: directories before what is in them, names of a directory in order.

    Raises:
        See `export_image`.
    """
    tree = image.bootstrap.tree
    paths: dict[int, bytes] = {tree.ROOT: b""}  # of directories, and of what has several names
    several = _count_names(tree)
    total, done = sum(tree.size), 0
    yield encode_header(_entry(tree, tree.ROOT, b"."))
    for directory, name, inode in tree.walk():
        path = paths[directory] + name
        first = paths.get(inode)
        if tree.is_directory(inode):
            paths[inode] = path + b"/"
        elif several[inode] > 1:
            paths.setdefault(inode, path)
        entry = _entry(tree, inode, path)
        if first is not None:
            yield encode_header(entry._replace(type=EntryType.HARDLINK, linkname=first, size=0))
            continue
        yield encode_header(entry)
        if entry.size:
            yield from image.content(inode)
            yield padding(entry.size)
            done += entry.size
            progress.advance("export", done, total)
    yield END


def _count_names(tree: FileTree) -> bytearray:
    """How many names each inode has, up to 2."""
    counts = bytearray(len(tree))
    for _, _, inode in tree.walk():
        counts[inode] = min(counts[inode] + 1, 2)
    return counts


def _entry(tree: FileTree, inode: int, path: bytes) -> Entry:
    mode = tree.mode[inode]
    kind = stat.S_IFMT(mode)
    rdev = tree.rdev[inode]
    major, minor = rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00
    if kind == stat.S_IFSOCK:
        raise UnsupportedImageError(f"{show(path)} is a socket, which no layer can hold")
    name = path.rpartition(b"/")[2]
    if name.startswith(WHITEOUT_PREFIX) or (kind == stat.S_IFCHR and (major, minor) == (0, 0)):
        raise UnsupportedImageError(f"{show(path)} would be taken for a whiteout in a layer")
    return Entry(
        path=path,
        type=EntryType(kind),
        mode=stat.S_IMODE(mode),
        uid=tree.uid[inode],
        gid=tree.gid[inode],
        size=tree.size[inode] if kind == stat.S_IFREG else 0,
        mtime_s=tree.mtime_s[inode],
        mtime_ns=tree.mtime_ns[inode],
        linkname=tree.symlink_target.get(inode, b""),
        major=major,
        minor=minor,
        xattrs=tree.xattrs.get(inode, ()),
    )


def _config(image: NydusImage, diff_id: Digest) -> bytes:
    """The source's config as far as it is in the image's, for one layer."""
    document = parse_config(image.config, len(image.manifest.layers))
    history: list[Any] = [entry for entry in document.get("history") or [] if entry != HISTORY_ENTRY]
    for number, entry in enumerate(history):
        if not isinstance(entry, dict):
            raise InvalidImageError(f"entry {number} of the history of the image config is not an object")
        history[number] = {**entry, "empty_layer": True}
    history.append({"created_by": _CREATED_BY})
    rootfs = {**document["rootfs"], "diff_ids": [str(diff_id)]}
    return encode_config({**document, "rootfs": rootfs, "history": history})


def _manifest(source: ImageManifest, config: bytes, layer: Descriptor) -> ImageManifest:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [layer.to_json()],
    }
    annotations = {
        key: value
        for key, value in source.annotations.items()
        if not key.startswith((_SNAPSHOT_PREFIX, _OUR_PREFIX))
    }
    if annotations:
        document["annotations"] = annotations
    manifest = encode_manifest(document, source)
    if classify(manifest) is not Kind.IMAGE:
        raise AssertionError("what was written as a plain image was read as something else")
    return manifest
