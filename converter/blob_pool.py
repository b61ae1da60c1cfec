"""All data blobs that the files of one image may use, and chunks in them that need not be stored again.

The blobs of a chunk dictionary come first, then those of the image's own layers, each when it is finished. A
blob's number is its position, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from converter.rafs.blobs import BlobInfo

# A chunk of a blob: its number, counted from 1 because 0 is the layer's own blob; and its index in it.
ChunkUse = tuple[int, int]

MAX_SHARED_CHUNKS: Final = 1 << 22  # 4 TiB at the usual chunk size; each takes some 200 bytes of memory
_DIGEST_SIZE: Final = 32


class BlobPool:
    """The blobs, and the chunks that layers may refer to.

    Attributes:
        blobs: what the bootstrap will say of each.
    """

    def __init__(self) -> None:
        self.blobs: list[BlobInfo] = []
        self._numbers: dict[str, int] = {}
        self._uses: dict[bytes, ChunkUse] = {}

    def add(self, blob: BlobInfo) -> int:
        """Adds a blob, whose chunks are not offered by that.

        Returns:
            Its number; for a blob that is there already the one it has. What is said of it now is what
            counts: a dictionary may know only some of its chunks.
        """
        number = self._numbers.setdefault(blob.blob_id, len(self.blobs))
        if number == len(self.blobs):
            self.blobs.append(blob)
        else:
            self.blobs[number] = blob
        return number

    def offer(self, number: int, indexes: Iterable[int]) -> None:
        """Offers chunks of a blob to all layers that are converted from now on. Those offered first stay.

        What is over `MAX_SHARED_CHUNKS` is not offered: it is stored again where it comes again.

        Args:
            number: of the blob.
            indexes: of the chunks.
        """
        digests = bytes(self.blobs[number].chunks.digests)
        for index in indexes:
            if len(self._uses) >= MAX_SHARED_CHUNKS:
                break
            digest = digests[index * _DIGEST_SIZE : (index + 1) * _DIGEST_SIZE]
            self._uses.setdefault(digest, (number + 1, index))

    def find(self, digest: bytes, size: int) -> ChunkUse | None:
        """The chunk that has this content, if one is offered.

        Args:
            digest: of the content, by the digester of the image.
            size: bytes of content. Chunks are equal if both are (docs/nydus-image.md §4.2).
        """
        use = self._uses.get(digest)
        if use is None or self.blobs[use[0] - 1].chunks.uncompressed_size[use[1]] != size:
            return None
        return use
