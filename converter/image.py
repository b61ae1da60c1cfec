"""Converts a whole image: layers to blobs, their trees to one bootstrap, and the documents round them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from converter.bootstrap_layer import ConvertedBootstrap, write_bootstrap_layer
from converter.classify import check_convertible, is_foreign_layer
from converter.data_blobs import DataBlobs
from converter.dictionary import BorrowedBlob, ChunkDictionary
from converter.errors import InvalidImageError, InvalidLayerError, LimitExceededError
from converter.image_blob import ConvertedBlob
from converter.image_documents import convert_config, convert_manifest, parse_config
from converter.image_form import write_bootstrap
from converter.layer import ConvertedLayer, LayerStats, convert_layer
from converter.merge import merge_layer
from converter.oci import Descriptor, Digest, ImageManifest
from converter.options import ConvertOptions
from converter.progress import NO_PROGRESS, Progress
from converter.read_back import read_back
from converter.tree import FileTree
from converter.zran.errors import NotReferenceableError
from converter.zran.layer import reference_layer

OpenLayer = Callable[[Descriptor], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True)
class ImageStats:
    """How much a conversion worked through.

    Args:
        files: names in the merged tree.
        layers: what went into each blob, lowest layer first.
        copied: in an OCI-reference image the layers that had to be converted all the same, and why.
    """

    files: int
    layers: tuple[LayerStats, ...]
    copied: Mapping[Digest, str]


@dataclass(frozen=True, slots=True)
class ConvertedImage:
    """A converted image in the work directory.

    Args:
        manifest: the OCI manifest, with its bytes.
        config: the image config.
        blobs: what was made, one for each layer of the source but those whose blob is borrowed, lowest first;
            equal layers give equal blobs.
        borrowed: the blobs of the manifest that an image of the dictionary has already, each once, in the
            manifest's order.
        bootstrap: the bootstrap layer, which is the last layer of the manifest.
        stats: counts.
    """

    manifest: ImageManifest
    config: bytes
    blobs: tuple[ConvertedBlob, ...]
    borrowed: tuple[BorrowedBlob, ...]
    bootstrap: ConvertedBootstrap
    stats: ImageStats


def convert_image(
    manifest: ImageManifest,
    config: bytes,
    open_layer: OpenLayer,
    work_dir: Path,
    options: ConvertOptions,
    progress: Progress = NO_PROGRESS,
    subject: Descriptor | None = None,
    dictionary: ChunkDictionary | None = None,
) -> ConvertedImage:
    """Converts an image. The same image, options and dictionary give the same bytes.

    Args:
        manifest: of the source.
        config: of the source, as the manifest names it.
        open_layer: opens the stored bytes of a layer. Reading them raises if they do not have the digest.
        work_dir: an existing directory for the results, which the caller removes.
        options: how to convert.
        progress: told the stages "layer 1/5" … and "bootstrap".
        subject: what the new manifest shall refer to; usually the source's descriptor.
        dictionary: images whose chunks are referred to instead of stored again. Their blobs are believed to
            hold what their bootstraps say.

    Raises:
        UnsupportedImageError: the manifest is no image of tar layers.
        InvalidImageError: manifest, config and layers contradict each other, or a layer is damaged.
        LimitExceededError: the image does not fit into RAFS.
        ValueError: an OCI-reference image with a dictionary, whose blobs it cannot borrow.
        OSError: the work directory cannot be written to.
        Exception: whatever `open_layer`, its streams and `progress` raise.
    """
    if options.oci_ref and dictionary is not None:
        raise ValueError(
            "an OCI-reference image takes no chunk dictionary: its data are in the source's layers"
        )
    check_convertible(manifest, include_foreign=options.include_foreign)
    if Digest.of(config) != manifest.config.digest:
        raise InvalidImageError(f"the image config is not the one that {manifest.digest} names")
    source_config = parse_config(config, len(manifest.layers))
    blobs = DataBlobs(
        share_layers=options.share_layers,
        dictionary=dictionary,
        layers={layer.digest for layer in manifest.layers},
        fs_verity=options.kernel_mountable,
    )
    work = _Work(open_layer, work_dir, options, progress, blobs)
    for number, layer in enumerate(manifest.layers):
        work.add_layer(layer, source_config["rootfs"]["diff_ids"][number], number, len(manifest.layers))
    bootstrap = work.write_bootstrap()
    data = blobs.finish(work.used)
    diff_ids = [*(blob.digest for blob in data), bootstrap.diff_id]
    new_config = convert_config(source_config, diff_ids)
    pinned = dictionary.images if dictionary else ()
    return ConvertedImage(
        manifest=convert_manifest(
            manifest, new_config, [*data, bootstrap.descriptor], subject, options, pinned
        ),
        config=new_config,
        blobs=tuple(blobs.made),
        borrowed=blobs.borrowed(),
        bootstrap=bootstrap,
        stats=ImageStats(work.files, tuple(work.stats), work.copied),
    )


class _Work:
    """What grows while the layers of one image are converted, lowest first."""

    def __init__(
        self,
        open_layer: OpenLayer,
        work_dir: Path,
        options: ConvertOptions,
        progress: Progress,
        blobs: DataBlobs,
    ) -> None:
        self._open_layer = open_layer
        self._work_dir = work_dir
        self._options = options
        self._progress = progress
        self._tree = FileTree()
        self._blobs = blobs
        self.stats: list[LayerStats] = []
        self.files = 0
        self.used: list[str] = []  # ids of the blobs that the bootstrap names
        self.copied: dict[Digest, str] = {}

    def add_layer(self, layer: Descriptor, diff_id: str, number: int, count: int) -> None:
        """Converts one layer and lays it over those before it."""
        stage = f"layer {number + 1}/{count}"
        try:
            converted = self._convert(layer, _Stage(self._progress, stage, layer.size))
            if str(converted.diff_id) != diff_id:
                raise InvalidLayerError(
                    f"its tar has the digest {converted.diff_id}, the config says {diff_id}"
                )
            merge_layer(self._tree, converted.tree, self._blobs.add(layer, converted))
        except (InvalidLayerError, LimitExceededError) as error:
            raise type(error)(f"{stage} ({layer.digest}): {error}") from error
        self.stats.append(converted.stats)

    def _convert(self, layer: Descriptor, progress: Progress) -> ConvertedLayer:
        """Converts a layer, or makes an index of it if that is wanted and possible."""
        if self._options.oci_ref and is_foreign_layer(layer):
            self.copied[layer.digest] = "it may not be distributed, so registries do not have it"
        elif self._options.oci_ref:
            try:
                with self._open_layer(layer) as stream:
                    return reference_layer(stream, layer, self._work_dir, self._options, progress)
            except NotReferenceableError as error:
                self.copied[layer.digest] = str(error)
        with self._open_layer(layer) as stream:
            return convert_layer(stream, self._work_dir, self._options, progress, self._blobs.shared)

    def write_bootstrap(self) -> ConvertedBootstrap:
        """Writes the bootstrap of the whole image, and its layer."""
        bootstrap = write_bootstrap(self._tree, self._blobs.infos, self._options)
        read = read_back(bootstrap, self._tree, self._blobs.infos)
        self._tree = FileTree()
        self.files, self.used = read.name_count, [record.blob_id.decode() for record in read.blobs]
        del read
        written = write_bootstrap_layer(
            bootstrap, self._blobs.cache_files(self.used), self._work_dir, self._options
        )
        self._progress.advance("bootstrap", len(bootstrap), len(bootstrap))
        return written


class _Stage:
    """Reports the progress of one layer under its own name, with the size that its descriptor says."""

    def __init__(self, progress: Progress, stage: str, total_bytes: int) -> None:
        self._progress = progress
        self._stage = stage
        self._total_bytes = total_bytes

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:  # noqa: ARG002
        self._progress.advance(self._stage, done_bytes, self._total_bytes)
