"""The columns: forms of output, and what nydus-image has to be told to write the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from converter.options import ConvertOptions


@dataclass(frozen=True)
class Form:
    """A column.

    Args:
        title: in words.
        options: of the conversion.
        reference: options of `nydus-image create` for the same form; None if it has none.
        borrows: the image is converted with an earlier one as its chunk dictionary.
        is_one_file: the conversion goes on to one EROFS file.
    """

    title: str
    options: ConvertOptions
    reference: tuple[str, ...] | None = ()
    borrows: bool = False
    is_one_file: bool = False

    @property
    def is_erofs(self) -> bool:
        """Whether the kernel and erofs-utils can know the form at all."""
        return self.options.fs_version == 6


def _compressor(name: str) -> tuple[str, ...]:
    return ("--compressor", name)


FORMS: Final[Sequence[Form]] = (
    Form("v6 zstd", ConvertOptions(), _compressor("zstd")),
    Form("v6 none", ConvertOptions(compressor="none"), _compressor("none")),
    Form("v6 lz4_block", ConvertOptions(compressor="lz4_block"), _compressor("lz4_block")),
    Form("v6 sha256", ConvertOptions(digester="sha256"), (*_compressor("zstd"), "--digester", "sha256")),
    Form("4 KiB chunks", ConvertOptions(chunk_size=1 << 12), (*_compressor("zstd"), "--chunk-size=0x1000")),
    Form(
        "16 MiB chunks", ConvertOptions(chunk_size=1 << 24), (*_compressor("zstd"), "--chunk-size=0x1000000")
    ),
    Form("kernel-mountable", ConvertOptions(compressor="none", kernel_mountable=True), None),
    Form("one EROFS file", ConvertOptions(), None, is_one_file=True),
    Form("OCI reference (zran)", ConvertOptions(oci_ref=True, digester="sha256"), None),
    Form("chunk dictionary", ConvertOptions(), None, borrows=True),
    Form("shared layers", ConvertOptions(share_layers=True), None),
    Form("v5 zstd", ConvertOptions(fs_version=5), None),
)
# The same bytes as the first but for the manifest and the config, which no reader of a file system sees.
DOCKER: Final = Form("Docker media types", ConvertOptions(media_types="docker"), None)
