"""The last layer of a Nydus image: a tar.gz with the bootstrap (docs/nydus-image.md §1.5)."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from converter.fs_verity import fs_verity_of_bytes
from converter.gzip_file import GzipFile
from converter.oci import Descriptor, Digest, media_types
from converter.options import ConvertOptions

BOOTSTRAP_NAME: Final = "image/image.boot"
_MEDIA_TYPE: Final = {"oci": media_types.OCI_LAYER_GZIP, "docker": media_types.DOCKER_LAYER_GZIP}


@dataclass(frozen=True, slots=True)
class ConvertedBootstrap:
    """The bootstrap layer of a converted image.

    Args:
        descriptor: of the layer, with its annotations.
        path: file of the layer.
        diff_id: digest of the tar inside.
        boot_path: the bootstrap itself, uncompressed, ready to be mounted.
        boot_digest: digest of the bootstrap.
        boot_size: its bytes.
    """

    descriptor: Descriptor
    path: Path
    diff_id: Digest
    boot_path: Path
    boot_digest: Digest
    boot_size: int


def write_bootstrap_layer(
    bootstrap: memoryview, cache_files: Iterable[tuple[str, bytes]], work_dir: Path, options: ConvertOptions
) -> ConvertedBootstrap:
    """Writes the layer into `work_dir`.

    The same content gives the same bytes with the same zlib: owners are root, times are zero. The version of
    zlib is part of `ConvertOptions.fingerprint`.

    Args:
        bootstrap: the bootstrap, its bytes.
        cache_files: name and content of each `<blob id>.blob.meta` to bring along.
        work_dir: a directory that exists.
        options: RAFS version and media types.

    Raises:
        OSError: the directory cannot be written to.
    """
    boot_path = work_dir / "image.boot"
    boot_path.write_bytes(bootstrap)
    path = work_dir / "bootstrap.tar.gz"
    with path.open("wb") as file:
        out = GzipFile(file)
        for piece in _tar(bootstrap, cache_files):
            out.write(piece)
        digest, size, diff_id = out.finish()
    return ConvertedBootstrap(
        descriptor=bootstrap_descriptor(
            digest, size, options, fs_verity_of_bytes(bootstrap) if options.kernel_mountable else None
        ),
        path=path,
        diff_id=diff_id,
        boot_path=boot_path,
        boot_digest=Digest(hashlib.sha256(bootstrap).hexdigest()),
        boot_size=len(bootstrap),
    )


def bootstrap_descriptor(
    digest: Digest, size: int, options: ConvertOptions, fs_verity: Digest | None = None
) -> Descriptor:
    """The descriptor of a bootstrap layer, with its marks (§1.2).

    Args:
        digest: of the layer.
        size: of the layer, in bytes.
        options: RAFS version and media types.
        fs_verity: fs-verity digest of the bootstrap in it, if that is to be mounted by the kernel.
    """
    annotations = {
        media_types.ANNOTATION_NYDUS_BOOTSTRAP: "true",
        media_types.ANNOTATION_NYDUS_FS_VERSION: str(options.fs_version),
    }
    if fs_verity is not None:
        annotations[media_types.ANNOTATION_BOOTSTRAP_FS_VERITY] = str(fs_verity)
    return Descriptor(_MEDIA_TYPE[options.media_types], digest, size, annotations)


def bootstrap_layer_digest(bootstrap: memoryview, cache_files: Iterable[tuple[str, bytes]]) -> Digest:
    """The digest of the tar that `write_bootstrap_layer` makes of the same arguments."""
    digest = hashlib.sha256()
    for piece in _tar(bootstrap, cache_files):
        digest.update(piece)
    return Digest(digest.hexdigest())


def _tar(bootstrap: memoryview, cache_files: Iterable[tuple[str, bytes]]) -> Iterator[bytes | memoryview]:
    yield _header("image", tarfile.DIRTYPE, 0o755, 0)
    yield from _member(BOOTSTRAP_NAME, bootstrap)
    for name, content in cache_files:
        yield from _member(f"image/{name}", memoryview(content))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, content: memoryview) -> Iterator[bytes | memoryview]:
    """A read-only file of the tar."""
    yield _header(name, tarfile.REGTYPE, 0o444, len(content))
    yield content
    yield bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size = kind, mode, size
    return member.tobuf(tarfile.USTAR_FORMAT)
