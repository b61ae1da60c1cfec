"""Chunk dictionaries: Nydus images whose blobs a new image may refer to instead of storing chunks again.

A dictionary is an ordered list of images, pinned by their digests: the same source, options and dictionary
give the same bytes, so the list is part of whatever names a conversion. What it offers are the chunks that
the bootstraps of its images list; of equal chunks the one of the first image counts.

Its images are believed. A dictionary that lies about a chunk puts wrong content into the new image, so take
only images that somebody vouches for: the service takes none without its own signature.

Blobs stay whole: an image that uses one chunk of a blob lists the blob, and a registry keeps it for as long.
So the number of borrowed blobs is bounded. A layer that is the same in the new image and in one of the
dictionary keeps its blob, and that counts only where there are too many blobs altogether.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from converter.oci import Descriptor, Digest
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import MAX_BLOBS

DEFAULT_MAX_BLOBS: Final = 16
MAX_IMAGES: Final = 8


@dataclass(frozen=True, slots=True)
class BorrowedBlob:
    """A blob that a converted image lists and an image of its dictionary has.

    Args:
        descriptor: of the blob.
        image: digest of the image that lends it.
    """

    descriptor: Descriptor
    image: Digest


@dataclass(frozen=True, slots=True)
class LentBlob:
    """A blob whose chunks a dictionary offers.

    Args:
        blob: the blob, and the first image that has it.
        info: what a bootstrap says of it; the chunk table is right where `indexes` says so, and zero
            elsewhere.
        indexes: of the chunks on offer.
        offered_size: bytes of these chunks, uncompressed.
        cache_file: its `<blob id>.blob.meta` for a bootstrap layer, if the image brings it along.
    """

    blob: BorrowedBlob
    info: BlobInfo
    indexes: tuple[int, ...]
    offered_size: int
    cache_file: bytes | None


@dataclass(frozen=True, slots=True)
class Twin:
    """What a layer became in an image of a dictionary.

    Args:
        blob: its data blob.
        refers_to: ids of other blobs that the bootstrap in it names.
    """

    blob: BorrowedBlob
    refers_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChunkDictionary:
    """What a conversion may borrow.

    Args:
        images: the digests that pin it, in order.
        blobs: all that its images use, those of the first image first.
        layers: for layers of the sources of its images, what each became.
        max_blobs: how many blobs the new image may borrow beside those of `layers`.
    """

    images: tuple[Digest, ...]
    blobs: tuple[LentBlob, ...]
    layers: Mapping[Digest, Twin]
    max_blobs: int = DEFAULT_MAX_BLOBS

    def choose(self, layers: Collection[Digest]) -> tuple[LentBlob, ...]:
        """The blobs that an image may borrow from, in the order of the dictionary.

        The blobs of layers that the image has as well come without counting, as long as the others are
        within the bound: such a layer then finds all of its chunks, and its blob stands where a new one
        would. Where the others are too many, those that offer most are taken, of all alike; what only the
        rest has is stored again.

        Args:
            layers: digests of the layers of the source.
        """
        kept = {self.layers[layer].blob.descriptor.digest for layer in layers if layer in self.layers}
        others = sum(lent.blob.descriptor.digest not in kept for lent in self.blobs)
        bound = max(0, min(self.max_blobs, MAX_BLOBS - len(layers)))
        if others <= bound:
            return self.blobs
        ranked = sorted(range(len(self.blobs)), key=lambda number: -self.blobs[number].offered_size)
        return tuple(self.blobs[number] for number in sorted(ranked[:bound]))
