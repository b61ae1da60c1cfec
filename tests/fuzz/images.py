"""The images that inputs of the corpus are parts of, and that spoilt parts are put into."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from converter.bootstrap_layer import write_bootstrap_layer
from converter.bootstrap_reader import BootstrapLayer, read_bootstrap_layer
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.oci.errors import WrongContentError
from converter.options import ConvertOptions
from tests.converter.memory_files import MemoryFiles, nydus_files
from tests.images.layout import Image, build_image
from tests.images.tar import CHAR, Entry, directory, encode_tar, file, hardlink, opaque, symlink, whiteout

NOISE: Final = random.Random(11).randbytes(9000)
LAYERS: Final = (
    [
        directory("d", 0o1777, uid=5),
        file("d/noise", NOISE),
        file(
            "d/text",
            b"text" * 3000,
            xattrs={b"user.a": b"1", b"security.capability": b"\1\0\0\2" + bytes(16)},
        ),
        file("empty"),
        symlink("l", "d/text"),
        Entry(b"null", CHAR, mode=0o666, device=(1, 3)),
        *(directory(f"many/{number}") for number in range(40)),
    ],
    [
        file("d/new", b"new" + NOISE[:5000], mtime=1),
        hardlink("again", "d/new"),
        whiteout("d/text"),
        opaque("many"),
        file("many/" + 200 * "x", b"x"),
    ],
)
FORMS: Final[Mapping[str, ConvertOptions]] = {
    "zstd": ConvertOptions(chunk_size=4096, threads=1),
    "lz4-sha256": ConvertOptions(chunk_size=4096, compressor="lz4_block", digester="sha256", threads=1),
    "none": ConvertOptions(compressor="none", prefetch=("/d", "/empty"), threads=1),
    "kernel": ConvertOptions(chunk_size=4096, compressor="none", kernel_mountable=True, threads=1),
    "v5": ConvertOptions(chunk_size=4096, fs_version=5, threads=1),
    "ref": ConvertOptions(chunk_size=4096, digester="sha256", oci_ref=True, threads=1),
}


class Files(MemoryFiles):
    """Content in memory; a descriptor of what is not there is an error, as of a registry."""

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        content = self.blobs.get(descriptor.digest)
        if content is None or len(content) != descriptor.size:
            raise WrongContentError(f"there is no {descriptor.digest} of {descriptor.size} bytes")
        yield io.BytesIO(content)

    open_seekable = open_blob


@functools.cache
def source() -> Image:
    """A small image with a little of everything."""
    return build_image([encode_tar(layer) for layer in LAYERS], "stored-gzip")


@functools.cache
def converted(form: str) -> tuple[MemoryFiles, ImageManifest]:
    """Its conversion."""
    with tempfile.TemporaryDirectory() as work:
        return nydus_files(source(), Path(work), FORMS[form])


def first_blob(form: str) -> bytes:
    """The id of a blob of its conversion, as bootstraps have it."""
    manifest = source().manifest if FORMS[form].oci_ref else converted(form)[1]
    return manifest.layers[0].digest.hex.encode()


@functools.cache
def _own_layer(form: str) -> BootstrapLayer:
    files, manifest = converted(form)
    return read_bootstrap_layer(io.BytesIO(files.blobs[manifest.layers[-1].digest]))


def bootstrap(form: str) -> bytes:
    """The bootstrap of its conversion."""
    return _own_layer(form).bootstrap


@functools.cache
def gzip_layer() -> bytes:
    """The lower layer in one gzip member, as index blobs of the corpus refer to it."""
    return gzip.compress(encode_tar(LAYERS[0]), 6, mtime=0)


def with_bootstrap(form: str, bootstrap: bytes) -> tuple[MemoryFiles, ImageManifest]:
    """A converted image with another bootstrap, in documents that say so."""
    files, manifest = converted(form)
    files = Files(dict(files.blobs))
    others = [(name.decode().removeprefix("image/"), data) for name, data in _own_layer(form).others.items()]
    with tempfile.TemporaryDirectory() as work:
        layer = write_bootstrap_layer(memoryview(bootstrap), others, Path(work), FORMS[form])
        files.add(layer.path.read_bytes())
    config = json.loads(files.blobs[manifest.config.digest])
    config["rootfs"]["diff_ids"][-1] = str(layer.diff_id)
    sealed = encode_json(config)
    document = json.loads(manifest.raw)
    document["config"] |= {"digest": str(files.add(sealed)), "size": len(sealed)}
    document["layers"][-1] = layer.descriptor.to_json()
    changed = parse_manifest(encode_json(document))
    assert isinstance(changed, ImageManifest)
    return files, changed


def with_config(config: bytes) -> Image:
    """The source image with another config."""
    return _rebuilt(source(), config)


def _rebuilt(image: Image, config: bytes) -> Image:
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {
            "mediaType": media_types.OCI_CONFIG,
            "digest": str(Digest.of(config)),
            "size": len(config),
        },
        "layers": [layer.to_json() for layer in image.manifest.layers],
    }
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    return Image(manifest, config, image.blobs | {Digest.of(config): config})
