"""What a caller can choose about a conversion."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, Literal

import zstandard

MIN_CHUNK_SIZE: Final = 4096
MAX_CHUNK_SIZE: Final = 16 << 20
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
        threads: threads that compress; 0 for one a processor. Never changes a byte of the output.

    Raises:
        ValueError: a value out of range, or values that exclude each other.
    """

    compressor: Literal["zstd", "none"] = "zstd"
    level: int = 3
    chunk_size: int = 1 << 20
    kernel_mountable: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if self.compressor not in ("zstd", "none"):
            raise ValueError(f"compressor must be zstd or none, not {self.compressor!r}")
        if not 1 <= self.level <= 19:
            raise ValueError(f"zstd level must be from 1 to 19, not {self.level}")
        size = self.chunk_size
        if size & (size - 1) or not MIN_CHUNK_SIZE <= size <= MAX_CHUNK_SIZE:
            raise ValueError(f"chunk size must be a power of two from 4096 to 16777216, not {size}")
        if self.kernel_mountable and self.compressor != "none":
            raise ValueError(
                "a kernel-mountable image needs compressor none: the kernel reads blobs as they are"
            )
        if self.threads < 0:
            raise ValueError(f"threads must not be negative, not {self.threads}")

    def fingerprint(self) -> str:
        """Short text of everything but the source that decides the output bytes: part of a job's key.

        The versions of zstd and zlib are part of it: another one may compress to other bytes. That holds for
        every compressor, and for the level too, because bootstraps are always compressed.
        """
        zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
        layout = "-kernel" if self.kernel_mountable else ""
        libraries = f"zstd{zstd}-zlib{zlib.ZLIB_RUNTIME_VERSION}"
        return (
            f"v{ENCODER_VERSION}-rafs6-{self.compressor}-{self.level}-{self.chunk_size}{layout}-{libraries}"
        )
