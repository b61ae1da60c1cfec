"""What the options of a conversion are called in RAFS, and bootstraps written by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from converter.options import ConvertOptions
from converter.prefetch import find_prefetched
from converter.rafs.blobs import BlobInfo
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import Compressor, Digester
from converter.rafs5.bootstrap import encode_bootstrap as encode_bootstrap_v5
from converter.tree import FileTree

COMPRESSOR: Final = {
    "zstd": Compressor.ZSTD,
    "lz4_block": Compressor.LZ4_BLOCK,
    "none": Compressor.NONE,
}
DIGESTER: Final = {"blake3": Digester.BLAKE3, "sha256": Digester.SHA256}


def write_bootstrap(tree: FileTree, blobs: Sequence[BlobInfo], options: ConvertOptions) -> memoryview:
    """The bootstrap of a layer or an image in the form that the options ask for.

    Args:
        tree: its files; every reference to a chunk means one of `blobs`.
        blobs: all blobs that files may use.
        options: how to convert.

    Raises:
        LimitExceededError: something does not fit into the format.
        ValueError: tree and blobs contradict each other.
    """
    encode = encode_bootstrap if options.fs_version == 6 else encode_bootstrap_v5
    return encode(
        tree,
        blobs,
        # Of several compressors in an image the superblock names one; readers ask the blob table.
        compressor=Compressor.GZIP if options.oci_ref else COMPRESSOR[options.compressor],
        digester=DIGESTER[options.digester],
        chunk_size=options.chunk_size,
        prefetch=find_prefetched(tree, options.prefetch),
    )
