"""Where finished blobs rest: one contract, a local directory by default, S3 for many machines."""

from p2p_seed.store.protocol import PIECE_BYTES, BlobReader, BlobStore

__all__ = ["PIECE_BYTES", "BlobReader", "BlobStore"]
