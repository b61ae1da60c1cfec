"""Where finished blobs rest: one contract, a local directory by default, S3 for many machines."""

from p2p_seed.store.chunk_lists import MAX_LIST_BYTES, ChunkLists, open_chunk_lists
from p2p_seed.store.directory import DirectoryStore
from p2p_seed.store.location import open_store
from p2p_seed.store.protocol import PIECE_BYTES, BlobReader, BlobStore
from p2p_seed.store.s3_access import S3Access

__all__ = [
    "MAX_LIST_BYTES",
    "PIECE_BYTES",
    "BlobReader",
    "BlobStore",
    "ChunkLists",
    "DirectoryStore",
    "S3Access",
    "open_chunk_lists",
    "open_store",
]
