"""The chunk manifest: what is signed about an image, so that every stored byte can be checked.

The chunk manifest holds an RFC 6962 root for each data blob of an image. The roots are made from chunk lists,
one binary file for each blob. Nothing here knows about keys, registries or RAFS; `signer` vouches for these
documents.
"""

from converter.chunk_manifest.blob import PREDICATE_BLOB, BlobChunks, BlobStatement
from converter.chunk_manifest.chunk_list import (
    ChunkListSummary,
    ChunkListWriter,
    Segment,
    SegmentKind,
)
from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.chunk_manifest.document import (
    BUILD_TYPE,
    PREDICATE_CHUNK_MANIFEST,
    Bootstrap,
    ChunkManifest,
    SourceImage,
    TargetImage,
    format_time,
)
from converter.chunk_manifest.errors import (
    ChunkManifestError,
    InvalidChunkListError,
    InvalidChunkManifestError,
)

__all__ = [
    "BUILD_TYPE",
    "PREDICATE_BLOB",
    "PREDICATE_CHUNK_MANIFEST",
    "BlobChunks",
    "BlobStatement",
    "Bootstrap",
    "ChunkListReader",
    "ChunkListSummary",
    "ChunkListWriter",
    "ChunkManifest",
    "ChunkManifestError",
    "InvalidChunkListError",
    "InvalidChunkManifestError",
    "Segment",
    "SegmentKind",
    "SourceImage",
    "TargetImage",
    "format_time",
]
