"""What a caller can choose about a conversion."""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from typing import Final, Literal

import zstandard

from converter import lz4_block

MIN_CHUNK_SIZE: Final = 4096
MAX_CHUNK_SIZE: Final = 16 << 20
MAX_REFERENCE_CHUNK_SIZE: Final = 4 << 20  # a client inflates 16 MiB at once, to get at one chunk
PREFETCH_ALL: Final = ("/",)
# Raised whenever the same input gives other bytes than before, so that old results are not taken for current.
ENCODER_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Choices that hold for all layers of an image.

    Args:
        compressor: how chunks are stored. A chunk that does not shrink is stored as it is.
        level: level of zstd, 1 to 19.
        chunk_size: bytes of file content in one chunk; a power of two from 4096 to 16 MiB.
        kernel_mountable: pads each chunk so that the blob itself can be the `device=` of a kernel EROFS mount
            (docs/nydus-image.md §7.2). Needs `compressor="none"`.
        fs_version: of RAFS. 6 is what every client reads, and the kernel too; 5 is for old clients.
        digester: digest of each chunk's content.
        prefetch: paths of files and directories, from the root, that a client may fetch before they are
            asked for, the first ones first; a directory stands for all below it. What an image does not have
            is passed over. Bytes that are not UTF-8 are written as `os.fsdecode` writes them.
        media_types: of the manifest, the config and the bootstrap layer. Data blobs have an OCI-style type of
            their own in both.
        oci_ref: leaves the data in the layers of the source, and only adds an index to them. Needs
            `digester="sha256"` and `fs_version=6`. A layer that clients cannot read from the middle is
            converted as the other options say.
        share_layers: lets a layer refer to chunks of the layers below it instead of storing them again. Its
            blob is then complete only together with theirs.
        include_foreign: also converts layers that may not be distributed, which puts their content into the
            result (docs/adr/0121). Without it an image that has some is not converted.
        threads: threads that compress; 0 for one a processor. Never changes a byte of the output.

    Raises:
        ValueError: a value out of range, or values that exclude each other.
    """

    compressor: Literal["zstd", "lz4_block", "none"] = "zstd"
    level: int = 3
    chunk_size: int = 1 << 20
    kernel_mountable: bool = False
    threads: int = 0
    fs_version: Literal[5, 6] = 6
    digester: Literal["blake3", "sha256"] = "blake3"
    prefetch: tuple[str, ...] = PREFETCH_ALL
    media_types: Literal["oci", "docker"] = "oci"
    oci_ref: bool = False
    share_layers: bool = False
    include_foreign: bool = False

    def __post_init__(self) -> None:
        _check_choice("compressor", self.compressor, ("zstd", "lz4_block", "none"))
        _check_choice("fs_version", self.fs_version, (5, 6))
        _check_choice("digester", self.digester, ("blake3", "sha256"))
        _check_choice("media_types", self.media_types, ("oci", "docker"))
        for path in self.prefetch:
            check_prefetch_path(path)
        if not 1 <= self.level <= 19:
            raise ValueError(f"level of zstd must be from 1 to 19, not {self.level}")
        size = self.chunk_size
        if size & (size - 1) or not MIN_CHUNK_SIZE <= size <= MAX_CHUNK_SIZE:
            raise ValueError(f"chunk_size must be a power of two from 4096 to 16777216, not {size}")
        if self.kernel_mountable and self.compressor != "none":
            raise ValueError("kernel_mountable needs compressor none: the kernel reads blobs as they are")
        if self.share_layers and (self.oci_ref or self.fs_version != 6):
            raise ValueError(
                "share_layers is for RAFS 6 with data blobs, so it excludes oci_ref and fs_version 5"
            )
        if self.oci_ref:
            self._check_reference()
        if self.fs_version == 5 and self.kernel_mountable:
            raise ValueError("kernel_mountable excludes fs_version 5, which no kernel mounts")
        if self.threads < 0:
            raise ValueError(f"threads must not be negative, not {self.threads}")

    def _check_reference(self) -> None:
        if self.digester != "sha256":
            raise ValueError("oci_ref needs digester sha256, as the reference builder has it")
        if self.fs_version != 6 or self.kernel_mountable:
            other = "kernel_mountable" if self.kernel_mountable else f"fs_version {self.fs_version}"
            raise ValueError(
                f"oci_ref excludes {other}: the data are gzip layers, which only RAFS 6 refers to"
            )
        if self.chunk_size > MAX_REFERENCE_CHUNK_SIZE:
            raise ValueError(f"with oci_ref chunk_size may be at most {MAX_REFERENCE_CHUNK_SIZE}")

    def fingerprint(self) -> str:
        """Short text of everything but the source that decides the output bytes: part of a job's key.

        The versions of zstd and zlib are part of it: another one may compress to other bytes. That holds for
        every compressor, and for the level too, because bootstraps are always compressed. The version of LZ4
        is, where it is used.
        """
        zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
        libraries = f"zstd{zstd}-zlib{zlib.ZLIB_RUNTIME_VERSION}"
        if self.compressor == "lz4_block":
            libraries += f"-lz4{lz4_block.library_version()}"
        form = f"rafs{self.fs_version}-{self.compressor}-{self.level}-{self.chunk_size}"
        return "-".join((f"v{ENCODER_VERSION}", form, *self._unusual(), libraries))

    def _unusual(self) -> list[str]:
        """What is not as it is by default, in words of the fingerprint."""
        # The second word came when fs-verity digests did.
        words = ["kernel", "fsverity"] if self.kernel_mountable else []
        if self.digester != "blake3":
            words.append(self.digester)
        if self.prefetch != PREFETCH_ALL:
            listed = b"\0".join(os.fsencode(path) for path in self.prefetch)
            words.append(f"prefetch{hashlib.sha256(listed).hexdigest()[:16]}")
        if self.media_types != "oci":
            words.append(self.media_types)
        if self.oci_ref:
            words.append("ref")
        if self.share_layers:
            words.append("shared")
        if self.include_foreign:
            words.append("foreign")
        return words


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def check_prefetch_path(path: str) -> None:
    """Checks an item of a prefetch list.

    Raises:
        ValueError: not a path from the root, or one with `.`, `..` or empty components.
    """
    parts = path.split("/")[1:]
    if not path.startswith("/") or "\0" in path or {"", ".", ".."} & set(parts if path != "/" else ()):
        raise ValueError(f"a path in prefetch must be absolute and plain, like /usr/bin, not {path!r}")
