"""The chunk manifest: what is signed about an image, so that every stored byte can be checked.

The chunk manifest holds an RFC 6962 root for each data blob of an image. The roots are made from chunk lists,
one binary file for each blob. Nothing here knows about keys, registries or RAFS; `signer` vouches for these
documents.
"""

from converter.chunk_manifest.blob import PREDICATE_BLOB, TREE, BlobChunks, BlobStatement
from converter.chunk_manifest.chunk_list import (
    MAX_RECORD_LENGTH,
    ChunkListSummary,
    ChunkListWriter,
    Segment,
    SegmentKind,
    encode_chunk_list,
)
from converter.chunk_manifest.chunk_list_reader import ChunkListReader, Records
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
    InvalidProofError,
)
from converter.chunk_manifest.merkle import RootBuilder, inclusion_proof, merkle_root, verify_inclusion

__all__ = [
    "BUILD_TYPE",
    "MAX_RECORD_LENGTH",
    "PREDICATE_BLOB",
    "PREDICATE_CHUNK_MANIFEST",
    "TREE",
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
    "InvalidProofError",
    "Records",
    "RootBuilder",
    "Segment",
    "SegmentKind",
    "SourceImage",
    "TargetImage",
    "encode_chunk_list",
    "format_time",
    "inclusion_proof",
    "merkle_root",
    "verify_inclusion",
]
