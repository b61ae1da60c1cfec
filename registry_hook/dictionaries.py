"""Chunk dictionaries that a user names for one conversion: `dragonhook convert --chunk-dict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converter.dictionary import BorrowedBlob, ChunkDictionary
from converter.dictionary_reader import DictionaryImage, open_dictionary_image, read_dictionary
from converter.errors import DictionaryError
from converter.oci import Digest, ImageManifest, Platform
from converter.options import ConvertOptions
from converter.platforms import matches
from registry_hook.registry import NotFoundError
from registry_hook.transports import (
    ImageSink,
    ImageSource,
    InvalidLayoutError,
    NoSuchImageError,
    copy_blob,
)


class NamedDictionaries:
    """Images to borrow chunks from, in the order in which they are asked.

    Args:
        sources: the images, or indexes of them. Of an index it is the image for the platform.
        max_blobs: as for `ChunkDictionary`.
    """

    def __init__(self, sources: Sequence[ImageSource], max_blobs: int) -> None:
        self._sources = sources
        self._max_blobs = max_blobs
        self._lenders: dict[Digest, ImageSource] = {}

    def open(self, platform: Platform | None, options: ConvertOptions) -> ChunkDictionary | None:
        """The dictionary for an image; None if none was named.

        Raises:
            DictionaryError: an image cannot be a dictionary, or there is none for the platform.
            Exception: whatever the sources raise.
        """
        if not self._sources:
            return None
        images = [self._open_image(source, platform) for source in self._sources]
        return read_dictionary(images, options, self._max_blobs)

    def copy(self, blob: BorrowedBlob, sink: ImageSink, work_dir: Path | None) -> None:
        """Puts a borrowed blob into the place of the new image, unless it is there."""
        copy_blob(self._lenders[blob.image], sink, blob.descriptor, work_dir)

    def _open_image(self, source: ImageSource, platform: Platform | None) -> DictionaryImage:
        manifest = source.manifest()
        if not isinstance(manifest, ImageManifest):
            entries = [
                entry.digest
                for entry in manifest.manifests
                if entry.platform and platform and matches(entry.platform, platform)
            ]
            child = source.manifest(entries[0]) if entries else None
            if not isinstance(child, ImageManifest):
                raise DictionaryError(f"the index {manifest.digest} has no chunk dictionary for {platform}")
            manifest = child
        self._lenders[manifest.digest] = source
        return open_dictionary_image(manifest, source.open_blob, _converted_from(manifest, source))


def _converted_from(manifest: ImageManifest, source: ImageSource) -> ImageManifest | None:
    """The manifest that an image was converted from, if it lies in the same place.

    It tells which layers are the same, and nothing else is lost without it.
    """
    if manifest.subject is None:
        return None
    try:
        found = source.manifest(manifest.subject.digest)
    except (NotFoundError, InvalidLayoutError, NoSuchImageError):
        return None
    return found if isinstance(found, ImageManifest) else None
