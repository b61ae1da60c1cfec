"""Leads the check of a whole image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, BinaryIO

from converter.blob.reader import BlobReader
from converter.bootstrap_layer import bootstrap_layer_digest
from converter.check.blob import CheckedBlob, check_blob
from converter.check.documents import compare_config, compare_manifest
from converter.check.findings import CheckReport
from converter.check.form import bootstrap_content, compare_blob_records, compare_form, own_blob
from converter.check.index_blob import check_index_blob
from converter.check.plain_blob import check_plain_blob, compare_pieces
from converter.check.source import SourceLayer, SourcePieces
from converter.classify import check_convertible
from converter.errors import (
    BlobError,
    BootstrapError,
    InvalidLayerError,
    LimitExceededError,
)
from converter.image_documents import parse_config
from converter.merge import merge_layer
from converter.nydus_image import ImageFiles, NydusImage
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.options import PREFETCH_ALL
from converter.progress import NO_PROGRESS, Progress
from converter.rafs.layout import UNKNOWN_BLOB_ID, Compressor
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.tree import FileTree
from converter.tree_compare import compare_trees

OpenLayer = Callable[[Descriptor], AbstractContextManager[BinaryIO]]


def check_image(
    source: ImageManifest,
    source_config: bytes,
    open_layer: OpenLayer,
    target: ImageManifest,
    target_files: ImageFiles,
    *,
    prefetch: Sequence[str] | None = PREFETCH_ALL,
    progress: Progress = NO_PROGRESS,
) -> CheckReport:
    """Compares an image with its conversion.

    Args:
        source: manifest of the source.
        source_config: its config.
        open_layer: opens the stored bytes of a layer of the source, which raise if they are wrong.
        target: manifest of the conversion.
        target_files: where its parts are.
        prefetch: what the conversion was told to put into the prefetch table; None takes what the table of
            the image's bootstrap lists, of which the tables of all layers must list what they have.
        progress: told the stages "blob 1/5" … and "layer 1/5" ….

    Returns:
        All differences; damage of the conversion is a difference, too.

    Raises:
        UnsupportedImageError: the source is no image of tar layers, or the conversion no Nydus image.
        InvalidImageError: the source is damaged.
        LimitExceededError: the source does not fit into RAFS.
        Exception: whatever `open_layer`, `target_files` and `progress` raise.
    """
    check_convertible(source, include_foreign=True)
    config = parse_config(source_config, len(source.layers))
    report = CheckReport()
    try:
        image = NydusImage(target_files, target)
    except (BootstrapError, BlobError) as error:
        report.add(str(error))
        return report
    report.extend(compare_manifest(source, image))
    report.extend(compare_config(config, image))
    report.prefetch = tuple(map(os.fsdecode, image.bootstrap.prefetch))
    check = _Check(image, report.prefetch if prefetch is None else prefetch, progress, report)
    check.blobs(source)
    check.layers(source, config, open_layer)
    check.bootstrap()
    return report


class _Check:
    """What grows while an image is checked."""

    def __init__(
        self, image: NydusImage, prefetch: Sequence[str], progress: Progress, report: CheckReport
    ) -> None:
        self._image = image
        self._prefetch = prefetch
        self._progress = progress
        self._report = report
        self._blobs: dict[str, CheckedBlob] = {}  # by id, those that can be read
        self._pieces = SourcePieces(image.bootstrap.chunk_size)
        self._tree = FileTree()

    def blobs(self, source: ImageManifest) -> None:
        """Reads each blob of the manifest."""
        layers = {layer.digest: layer for layer in self._image.manifest.layers[:-1]}
        for number, descriptor in enumerate(layers.values(), 1):
            where = f"blob {descriptor.digest}"
            self._progress.advance(f"blob {number}/{len(layers)}", 0, descriptor.size)
            try:
                self._blob(
                    source,
                    descriptor,
                    lambda line, where=where: self._report.add(f"{where}: {line}"),  # type: ignore[misc]
                )
            except BlobError as error:
                self._report.add(f"{where}: {error}")
            self._report.blobs += 1
            self._report.blob_bytes += descriptor.size
            self._progress.advance(f"blob {number}/{len(layers)}", descriptor.size, descriptor.size)

    def _blob(self, source: ImageManifest, descriptor: Descriptor, report: Callable[[str], None]) -> None:
        image = self._image
        refers_to = descriptor.annotations.get(media_types.ANNOTATION_NYDUS_REF)
        with ExitStack() as files:
            file = files.enter_context(image.files.open_seekable(descriptor))
            if refers_to is None:
                check = check_plain_blob if image.bootstrap.version == 5 else check_blob
                blob = check(file, descriptor, self._compressor(descriptor), image.bootstrap.digester, report)
            else:
                original = next((one for one in source.layers if str(one.digest) == refers_to), None)
                if original is None:
                    raise BlobError(f"it refers to {refers_to}, which is no layer of the source")
                layer = files.enter_context(image.files.open_seekable(original))
                size = image.bootstrap.chunk_size
                blob = check_index_blob(file, descriptor, layer, original, size, report)
                self._blobs[blob.info.blob_id] = blob
            self._blobs[descriptor.digest.hex] = blob

    def _compressor(self, blob: Descriptor) -> Compressor:
        """How a blob stores its chunks, which a blob itself does not say."""
        for record in self._image.bootstrap.blobs:
            if record.blob_id.decode() == blob.digest.hex:
                return Compressor(record.compressor)
        return self._image.bootstrap.compressor

    def layers(self, source: ImageManifest, config: Mapping[str, Any], open_layer: OpenLayer) -> None:
        """Reads the layers of the source, and compares each with the bootstrap in its blob."""
        targets = self._image.manifest.layers[:-1]
        if len(targets) < len(source.layers):
            self._report.add(f"it has {len(targets)} data blobs for {len(source.layers)} layers")
        for number, descriptor in enumerate(source.layers):
            where = f"layer {number + 1}/{len(source.layers)}"
            self._progress.advance(where, 0, descriptor.size)
            try:
                with open_layer(descriptor) as stream:
                    layer = self._pieces.read_layer(stream)
                _check_diff_id(layer, config["rootfs"]["diff_ids"][number])
                if number < len(targets):
                    self._compare_layer(layer, targets[number])
                merge_layer(self._tree, layer.tree, [0])
            except (InvalidLayerError, LimitExceededError) as error:
                raise type(error)(f"{where} ({descriptor.digest}): {error}") from error
            self._report.file_bytes += layer.file_size
            self._progress.advance(where, descriptor.size, descriptor.size)

    def bootstrap(self) -> None:
        """Compares the merged tree with the bootstrap of the image."""
        image, blobs = self._image, self._blobs
        self._report.names = image.bootstrap.name_count
        actual = bootstrap_content(image.bootstrap, blobs)
        self._report.extend(compare_trees(self._pieces.content(self._tree), actual))
        data = image.layer.bootstrap
        self._report.extend(compare_blob_records(image.bootstrap, blobs), "bootstrap")
        self._report.extend(compare_form(data, image.bootstrap, blobs, self._prefetch), "bootstrap")
        files = {
            f"image/{blob_id}.blob.meta".encode(): blob.cache_file
            for blob_id, blob in blobs.items()
            if blob.cache_file
        }
        self._report.extend(_compare_files(files, image.layer.others), "bootstrap layer")
        others = [
            (name.removeprefix(b"image/").decode(errors="replace"), content)
            for name, content in image.layer.others.items()
        ]
        if bootstrap_layer_digest(memoryview(data), others) != image.layer.diff_id:
            self._report.add("bootstrap layer: its tar is not the one that goes with its files")

    def _compare_layer(self, layer: SourceLayer, target: Descriptor) -> None:
        """Compares a layer with the bootstrap in its blob."""
        digest = target.digest
        blob = self._blobs.get(digest.hex)
        if blob is None:
            return
        if self._image.bootstrap.version == 5:
            self._report.extend(compare_pieces(blob, *self._pieces.distinct(layer)), f"blob {digest}")
        where = f"bootstrap in blob {digest}"
        try:
            data = self._inlined_bootstrap(digest)
            bootstrap = read_bootstrap(data)
        except (BlobError, BootstrapError) as error:
            self._report.add(f"{where}: {error}")
            return
        blobs = {**self._blobs, **{b.info.blob_id: b for b in [own_blob(blob)]}}
        expected = self._pieces.content(layer.tree.with_whiteout_files())
        self._report.extend(compare_trees(expected, bootstrap_content(bootstrap, blobs)), where)
        self._report.extend(compare_blob_records(bootstrap, blobs), where)
        self._report.extend(compare_form(data, bootstrap, blobs, self._prefetch), where)
        if media_types.ANNOTATION_NYDUS_REF not in target.annotations:
            self._compare_references(bootstrap, target, where)

    def _compare_references(self, bootstrap: Bootstrap, target: Descriptor, where: str) -> None:
        """Compares the other blobs that a layer's bootstrap names with what its descriptor says of them."""
        named = {record.blob_id.decode() for record in bootstrap.blobs} - {UNKNOWN_BLOB_ID}
        stated = target.annotations.get(media_types.ANNOTATION_REFERS_TO, "")
        if named != set(filter(None, stated.split(","))):
            self._report.add(f"{where}: it names {sorted(named)}, its descriptor says {stated or 'none'}")

    def _inlined_bootstrap(self, digest: Digest) -> bytes:
        descriptor = next(layer for layer in self._image.manifest.layers if layer.digest == digest)
        with self._image.files.open_seekable(descriptor) as file:
            return BlobReader(file).bootstrap()


def _check_diff_id(layer: SourceLayer, expected: str) -> None:
    if str(layer.diff_id) != expected:
        raise InvalidLayerError(f"its tar has the digest {layer.diff_id}, the config says {expected}")


def _compare_files(expected: Mapping[bytes, bytes], actual: Mapping[bytes, bytes]) -> list[str]:
    lines = []
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            what = (
                "is missing"
                if name not in actual
                else "is not what it should be"
                if name in expected
                else "should not be there"
            )
            lines.append(f"{name.decode(errors='backslashreplace')} {what}")
    return lines
