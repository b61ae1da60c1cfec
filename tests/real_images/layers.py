"""Layers as files: directories packed as a container engine packs them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from tests.demo.image import neutral

_PIECE: Final = 1 << 20
_LEVEL: Final = 6
_OPAQUE_XATTR: Final = "trusted.overlay.opaque"


@dataclass(frozen=True)
class StoredLayer:
    """A gzip layer in the cache.

    Args:
        path: the file.
        digest: hexadecimal digits of its SHA-256.
        diff_id: of the tar in it.
        size: of the file, in bytes.
        tar_size: of the tar in it.
    """

    path: str
    digest: str
    diff_id: str
    size: int
    tar_size: int

    @classmethod
    def load(cls, record: Path) -> Self:
        """Reads what `save` wrote."""
        return cls(**json.loads(record.read_text()))

    def save(self, record: Path) -> None:
        """Keeps it for later runs, in one step."""
        scratch = record.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self)))
        scratch.rename(record)


def compress(tar: BinaryIO, target: Path) -> StoredLayer:
    """Compresses a tar to a layer file."""
    diff_id, size = hashlib.sha256(), 0
    with gzip.GzipFile(target, "wb", _LEVEL, mtime=0) as packed:
        while piece := tar.read(_PIECE):
            diff_id.update(piece)
            size += len(piece)
            packed.write(piece)
    with target.open("rb") as stored:
        digest = hashlib.file_digest(stored, "sha256").hexdigest()
    return StoredLayer(str(target), digest, diff_id.hexdigest(), target.stat().st_size, size)


def pack(directory: Path, scratch: Path, prefix: str = "", *, is_upper: bool = False) -> Path:
    """Packs a directory as an uncompressed layer tar.

    Args:
        directory: what to pack.
        scratch: a directory for the tar.
        prefix: path in the image; empty for the root.
        is_upper: the directory is the upper one of an overlay: owners, modes and times are the image's own,
            and its whiteouts become those of a layer. Else all files get one owner and one time.
    """
    target = scratch / "layer.tar"
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, name in _walk(directory, prefix):
            if path.is_socket():  # which no layer has
                continue
            member = tar.gettarinfo(path, name)
            if is_upper and _is_whiteout(member):
                tar.addfile(tarfile.TarInfo(_marker(name)))
                continue
            _add(tar, member if is_upper else neutral(member), path)
            if is_upper and _is_opaque(path, member):
                tar.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))
    return target


def _walk(directory: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    """All below a directory, sorted, with the names in the tar; the directory itself if it has one."""
    if prefix:
        yield directory, prefix
    for path in sorted(directory.iterdir()):
        name = f"{prefix}/{path.name}" if prefix else path.name
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, name)
        else:
            yield path, name


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    member.pax_headers = {
        f"SCHILY.xattr.{name}": os.getxattr(path, name, follow_symlinks=False).decode(
            "utf-8", "surrogateescape"
        )
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith("trusted.overlay.")
    }
    if member.isreg():
        with path.open("rb") as content:
            tar.addfile(member, content)
    else:
        tar.addfile(member, io.BytesIO())


def _is_whiteout(member: tarfile.TarInfo) -> bool:
    """A device 0:0 is overlayfs's whiteout."""
    return member.ischr() and (member.devmajor, member.devminor) == (0, 0)


def _marker(name: str) -> str:
    directory, slash, base = name.rpartition("/")
    return f"{directory}{slash}.wh.{base}"


def _is_opaque(path: Path, member: tarfile.TarInfo) -> bool:
    return member.isdir() and _OPAQUE_XATTR in os.listxattr(path)
