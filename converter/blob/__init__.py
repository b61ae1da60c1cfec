"""Layer blobs: the data half of a Nydus image.

`layout` says what lies where, `chunk_table` holds what is known of every chunk, `chunk_writer` and `compress`
turn file content into stored chunks, `writer` puts the sections behind them, `reader` reads a blob back.
Chapters (§) are those of docs/nydus-image.md; the source of all is nydus at commit
34e6071e, `storage/src/meta/` and `builder/src/core/blob.rs`.
"""

from converter.blob.chunk_table import ChunkTable
from converter.blob.layer_blob import LayerBlob
from converter.blob.reader import BlobReader

__all__ = ["BlobReader", "ChunkTable", "LayerBlob"]
