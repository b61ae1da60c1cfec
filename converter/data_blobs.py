"""The data blobs of an image while it is converted: which are made, which borrowed, and what they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from converter.blob import LayerBlob
from converter.blob_pool import BlobPool
from converter.dictionary import BorrowedBlob, ChunkDictionary, LentBlob
from converter.image_blob import ConvertedBlob, write_chunk_list
from converter.layer import ConvertedLayer
from converter.oci import Descriptor, Digest, media_types
from converter.rafs.blobs import BlobInfo
from converter.rafs.nodes import column


class DataBlobs:
    """Takes the blob of each layer, lowest first, and says in the end what the image lists.

    Args:
        share_layers: whether layers may refer to chunks of those below them.
        dictionary: what may be borrowed.
        layers: digests of all layers of the source.
        fs_verity: whether the descriptors of blobs that are made shall have fs-verity digests.

    Attributes:
        made: the blobs that were made and are listed, one for each layer that has one.
    """

    def __init__(
        self,
        *,
        share_layers: bool,
        dictionary: ChunkDictionary | None,
        layers: Collection[Digest],
        fs_verity: bool = False,
    ) -> None:
        self._fs_verity = fs_verity
        self.made: list[ConvertedBlob] = []
        self._share_layers = share_layers
        self._twins = dictionary.layers if dictionary else {}
        self._pool = BlobPool()
        self._layer_blobs: dict[str, LayerBlob] = {}
        self._own_ids: set[str] = set()  # by which the bootstrap names the blobs that were made
        self._listed: list[Descriptor] = []
        self._borrowed: dict[Digest, BorrowedBlob] = {}
        self._lent: dict[str, LentBlob] = {}
        self._used: dict[str, None] = {}  # ids of blobs of the pool that a layer refers to, in order
        for lent in dictionary.choose(layers) if dictionary else ():
            self._lent[lent.info.blob_id] = lent
            self._pool.offer(self._pool.add(lent.info), lent.indexes)

    @property
    def shared(self) -> BlobPool | None:
        """What the next layer may refer to; None for nothing."""
        return self._pool if self._lent or self._share_layers else None

    @property
    def infos(self) -> list[BlobInfo]:
        """What a bootstrap says of each blob, by the numbers that `add` gives."""
        return self._pool.blobs

    def add(self, layer: Descriptor, converted: ConvertedLayer) -> list[int]:
        """Takes the blob of the next layer.

        Args:
            layer: of the source.
            converted: what it became, by the chunks that `shared` offered.

        Returns:
            The number of each blob that the layer's tree may name, in the order of its own numbers.
        """
        blob, number = converted.blob, 0
        others = np.unique(column(converted.tree.chunk_blob)).tolist()
        used = [self._pool.blobs[other - 1].blob_id for other in others if other]
        twin = self._twins.get(layer.digest)
        if twin is not None and used and not len(blob.chunks) and self._lent.keys() >= set(twin.refers_to):
            # All of its chunks are borrowed, so the blob that the same layer has elsewhere does as well.
            self._used |= dict.fromkeys(twin.refers_to)
            blob.path.unlink(missing_ok=True)
            self._listed.append(self._borrow(twin.blob))
            return [number, *range(len(self._pool.blobs))]
        if len(blob.chunks):
            number = self._pool.add(blob.info())
            self._own_ids.add(self._pool.blobs[number].blob_id)
            if self._share_layers:
                self._pool.offer(number, range(len(blob.chunks)))
        self._used |= dict.fromkeys(used)
        self._layer_blobs.setdefault(blob.digest.hex, blob)
        self.made.append(write_chunk_list(blob, fs_verity=self._fs_verity))
        if used:
            self.made[-1] = _referring(self.made[-1], used)
        self._listed.append(self.made[-1].descriptor)
        return [number, *range(len(self._pool.blobs))]

    def finish(self, used: Iterable[str]) -> list[Descriptor]:
        """All data blobs as the manifest lists them: those of the layers, then what else is borrowed (§1.1).

        The latter are the blobs that the image's bootstrap names, and then those that only the bootstraps in
        layer blobs do, because upper layers hide the files: whoever has the manifest can read each layer.

        Args:
            used: ids of the blobs in the image's bootstrap, in its order.
        """
        listed = self._own_ids.union(descriptor.digest.hex for descriptor in self._listed)
        more = dict.fromkeys(blob_id for blob_id in (*used, *self._used) if blob_id not in listed)
        return [*self._listed, *(self._borrow(self._lent[blob_id].blob) for blob_id in more)]

    def borrowed(self) -> tuple[BorrowedBlob, ...]:
        """The borrowed blobs of what `finish` gave, each once."""
        return tuple(self._borrowed.values())

    def cache_files(self, used: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files for nydusd's cache: of each blob that `finish` lists, in order."""
        for blob_id in dict.fromkeys(blob.digest.hex for blob in self.finish(used)):
            made, lent = self._layer_blobs.get(blob_id), self._lent.get(blob_id)
            if made is not None:
                content = made.blob_meta_file() if made.has_cache_file else None
            else:
                content = lent.cache_file if lent else None
            if content is not None:
                yield f"{blob_id}.blob.meta", content

    def _borrow(self, blob: BorrowedBlob) -> Descriptor:
        marked = {
            **blob.descriptor.annotations,
            media_types.ANNOTATION_NYDUS_BLOB: "true",
            media_types.ANNOTATION_BORROWED_FROM: str(blob.image),
        }
        descriptor = replace(blob.descriptor, annotations=marked)
        self._borrowed.setdefault(descriptor.digest, BorrowedBlob(descriptor, blob.image))
        return descriptor


def _referring(blob: ConvertedBlob, others: Sequence[str]) -> ConvertedBlob:
    """The blob with a note of the other blobs that the bootstrap in it names."""
    stated = {media_types.ANNOTATION_REFERS_TO: ",".join(others)}
    descriptor = replace(blob.descriptor, annotations={**blob.descriptor.annotations, **stated})
    return replace(blob, descriptor=descriptor)
