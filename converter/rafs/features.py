"""Which features of blobs are supported (§2.3)."""

from __future__ import annotations

from typing import Final

from converter.rafs.layout import BlobFeature

_SUPPORTED: Final = int(
    BlobFeature.ALIGNED
    | BlobFeature.INLINED_FS_META
    | BlobFeature.CHUNK_INFO_V2
    | BlobFeature.ZRAN
    | BlobFeature.SEPARATE
    | BlobFeature.INLINED_CHUNK_DIGEST
    | BlobFeature.HAS_TAR_HEADER
    | BlobFeature.HAS_TOC
    | BlobFeature.CAP_TAR_TOC
)


def unsupported_features(features: int) -> str | None:
    """Says why a blob with these features cannot be read.

    Args:
        features: bits of `layout.BlobFeature`, as a blob table or a chunk info header has them.

    Returns:
        What goes behind "the blob …" in an error; None for a blob that can be read.
    """
    other = features & ~_SUPPORTED
    if other:
        names = [str(feature.name) for feature in BlobFeature if other & feature] or ["unknown"]
        return f"is of a kind that is not supported: {', '.join(names)} ({other:#x})"
    if features & BlobFeature.ZRAN and not features & BlobFeature.SEPARATE:
        return "says its chunks are in a gzip file, but not that this is another blob"
    if features & BlobFeature.ZRAN and not features & BlobFeature.CHUNK_INFO_V2:
        return "has its chunks in a gzip file, which its chunk info cannot express"
    return None
