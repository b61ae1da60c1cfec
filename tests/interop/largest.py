"""Layers too large for memory, and their conversions in a process of their own, whose memory is measured."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from converter.image import convert_image
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.options import ConvertOptions
from tests.images.tar import END, Entry, encode_entry
from tests.memory import peak_bytes


@dataclass(frozen=True)
class LargeImage:
    """An image of one layer in a file.

    Args:
        layer: the file.
        manifest: of the image.
        config: of the image.
    """

    layer: Path
    manifest: ImageManifest
    config: bytes

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Opens the layer, as `convert_image` wants it."""
        with self.layer.open("rb") as file:
            yield file


@dataclass(frozen=True)
class Measured:
    """A conversion, and what it took.

    Args:
        bootstrap: the bootstrap file.
        blobs: directory with the layer blobs, named by the 64 digits of their digests.
        files: names in the image.
        peak_bytes: largest resident set of the process.
        seconds: of the conversion.
    """

    bootstrap: Path
    blobs: Path
    files: int
    peak_bytes: int
    seconds: float


def write_image(path: Path, entries: Iterable[Entry]) -> LargeImage:
    """Writes a zstd layer entry by entry, and the documents for it."""
    diff_id = hashlib.sha256()
    with path.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False) as out:
        for piece in (*map(encode_entry, entries), END):
            diff_id.update(piece)
            out.write(piece)
    with path.open("rb") as stored:
        digest = Digest(hashlib.file_digest(stored, "sha256").hexdigest())
    layer = Descriptor(media_types.OCI_LAYER_ZSTD, digest, path.stat().st_size)
    config = encode_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id.hexdigest()}"]},
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [layer.to_json()],
    }
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    return LargeImage(path, manifest, config)


def convert_measured(image: LargeImage, directory: Path, options: ConvertOptions) -> Measured:
    """Converts an image in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_convert, image, directory, options).result()


def _convert(image: LargeImage, directory: Path, options: ConvertOptions) -> Measured:
    directory.mkdir()
    started_s = time.monotonic()
    converted = convert_image(image.manifest, image.config, image.open_layer, directory, options)
    return Measured(
        bootstrap=converted.bootstrap.boot_path,
        blobs=directory,
        files=converted.stats.files,
        peak_bytes=peak_bytes(),
        seconds=time.monotonic() - started_s,
    )
