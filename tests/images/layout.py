"""Images in memory, and their OCI layouts on disk (OCI image spec 1.1, image-layout.md)."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import zstandard

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    encode_json,
    media_types,
    parse_manifest,
)

Compression = Literal["plain", "gzip", "stored-gzip", "zstd"]

_MEDIA_TYPES = {
    "plain": media_types.OCI_LAYER,
    "gzip": media_types.OCI_LAYER_GZIP,
    "stored-gzip": media_types.OCI_LAYER_GZIP,
    "zstd": media_types.OCI_LAYER_ZSTD,
}


@dataclass(frozen=True)
class Image:
    """An image with all its content.

    Args:
        manifest: the image manifest.
        config: bytes of the image config.
        blobs: content by digest, config included.
    """

    manifest: ImageManifest
    config: bytes
    blobs: dict[Digest, bytes]

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Opens the stored bytes of a layer, as `convert_image` wants it."""
        yield io.BytesIO(self.blobs[descriptor.digest])

    def write_layout(self, directory: Path, tag: str = "test") -> None:
        """Writes an OCI layout with this image under `tag`."""
        blobs = directory / "blobs/sha256"
        blobs.mkdir(parents=True)
        for name, content in self._files(tag):
            (directory / name).write_bytes(content)

    def write_archive(self, path: Path, tag: str) -> None:
        """Writes the layout as a tar, as `ctr images import` reads it; `tag` is the image's name there."""
        with tarfile.open(path, "w") as archive:
            for name, content in self._files(tag):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    def _files(self, tag: str) -> Iterator[tuple[str, bytes]]:
        yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
        annotations = {"org.opencontainers.image.ref.name": tag}
        descriptor = self.manifest.descriptor.to_json() | {"annotations": annotations}
        yield "index.json", json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode()
        yield f"blobs/sha256/{self.manifest.digest.hex}", self.manifest.raw
        for digest, content in self.blobs.items():
            yield f"blobs/sha256/{digest.hex}", content


def write_index_layout(
    directory: Path, entries: Sequence[tuple[Image, Mapping[str, object]]], tag: str = "test"
) -> ImageIndex:
    """Writes an OCI layout whose `tag` is an index.

    Args:
        directory: the layout; made.
        entries: each image with the `platform` of its entry; nothing for none.
        tag: name of the index.
    """
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for image, platform in entries:
        for digest, content in (image.blobs | {image.manifest.digest: image.manifest.raw}).items():
            (blobs / digest.hex).write_bytes(content)
        manifests.append(image.manifest.descriptor.to_json() | ({"platform": platform} if platform else {}))
    raw = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests})
    index = parse_manifest(raw)
    assert isinstance(index, ImageIndex)
    (blobs / index.digest.hex).write_bytes(raw)
    (directory / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    named = index.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": tag}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return index


def retyped(image: Image, changes: Mapping[int, Mapping[str, object]], **others: object) -> Image:
    """The image with other fields in some descriptors of layers, and in the manifest.

    Args:
        image: stays as it is.
        changes: new fields by the number of the layer; the lowest is 0.
        others: new fields of the manifest.
    """
    document = json.loads(image.manifest.raw) | others
    for number, fields in changes.items():
        document["layers"][number] |= fields
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    return Image(manifest, image.config, image.blobs)


def build_image(tars: Sequence[bytes], compression: Sequence[Compression] | Compression = "gzip") -> Image:
    """Makes an image of uncompressed layers.

    Args:
        tars: the layers, lowest first.
        compression: for all layers, or one for each.
    """
    kinds = [compression] * len(tars) if isinstance(compression, str) else list(compression)
    layers = [(compress(tar, kind), Digest.of(tar)) for tar, kind in zip(tars, kinds, strict=True)]
    return stored_image(layers, [_MEDIA_TYPES[kind] for kind in kinds])


def stored_image(layers: Sequence[tuple[bytes, Digest]], types: Sequence[str] | None = None) -> Image:
    """Makes an image of layers as they are stored.

    Args:
        layers: the stored bytes and the diff id of each, lowest first.
        types: their media types; gzip if not given.
    """
    names = types or [media_types.OCI_LAYER_GZIP] * len(layers)
    stored = [
        Descriptor(name, Digest.of(data), len(data)) for name, (data, _) in zip(names, layers, strict=True)
    ]
    config = encode_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [str(diff_id) for _, diff_id in layers]},
        }
    )
    config_descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": config_descriptor.to_json(),
            "layers": [layer.to_json() for layer in stored],
        }
    )
    manifest = parse_manifest(raw)
    assert isinstance(manifest, ImageManifest)
    blobs = {Digest.of(data): data for data, _ in layers}
    return Image(manifest, config, blobs | {config_descriptor.digest: config})


def read_image(directory: Path, tag: str) -> Image:
    """Reads an image from an OCI layout.

    Raises:
        KeyError: the layout has no such tag.
    """
    index = json.loads((directory / "index.json").read_bytes())
    named = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in index["manifests"]}
    blobs = directory / "blobs/sha256"
    manifest = parse_manifest((blobs / Digest.parse(named[tag]["digest"]).hex).read_bytes())
    assert isinstance(manifest, ImageManifest)
    digests = [manifest.config.digest, *(layer.digest for layer in manifest.layers)]
    content = {digest: (blobs / digest.hex).read_bytes() for digest in digests}
    return Image(manifest, content[manifest.config.digest], content)


def compress(tar: bytes, kind: Compression) -> bytes:
    """The stored bytes of a layer; `stored-gzip` gives the same bytes with every zlib."""
    if kind == "plain":
        return tar
    if kind == "zstd":
        return zstandard.ZstdCompressor(level=3).compress(tar)
    if kind == "stored-gzip":
        return _stored_gzip(tar)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(tar) + packer.flush()


def _stored_gzip(content: bytes) -> bytes:
    """A gzip member (RFC 1952) of stored deflate blocks (RFC 1951, 3.2.4)."""
    encoded = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]
    for start in range(0, len(content), 0xFFFF) or (0,):
        piece = content[start : start + 0xFFFF]
        final = start + len(piece) == len(content)
        encoded.append(
            bytes([final]) + len(piece).to_bytes(2, "little") + (len(piece) ^ 0xFFFF).to_bytes(2, "little")
        )
        encoded.append(piece)
    encoded.append(
        zlib.crc32(content).to_bytes(4, "little") + (len(content) & 0xFFFFFFFF).to_bytes(4, "little")
    )
    return b"".join(encoded)
