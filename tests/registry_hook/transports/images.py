"""Small images to write to any sink and to compare with what comes out of any source."""

from __future__ import annotations

from dataclasses import dataclass

from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, encode_json, media_types
from registry_hook.transports import ImageSink, ImageSource


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest and the blobs that it names."""

    manifest: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]


def descriptor(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def image(name: str, layers: int = 2) -> Image:
    """An image whose content depends on `name`; its last layer is empty."""
    contents = [f"{name} {number}".encode() * 5000 for number in range(layers - 1)] + [b""]
    diff_ids = [str(Digest.of(content)) for content in contents]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = encode_json({"architecture": "amd64", "os": "linux", "rootfs": rootfs})
    blobs = [(descriptor(media_types.OCI_CONFIG, config), config)]
    blobs += [(descriptor(media_types.OCI_LAYER, content), content) for content in contents]
    manifest = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": blobs[0][0].to_json(),
            "layers": [layer.to_json() for layer, _ in blobs[1:]],
        }
    )
    return Image(manifest, tuple(blobs))


def write(sink: ImageSink, image: Image) -> Descriptor:
    """Writes an image the way the pipeline does."""
    write_blobs(sink, image)
    return sink.publish(image.manifest, media_types.OCI_MANIFEST)


def write_index(sink: ImageSink, images: list[Image]) -> Descriptor:
    """Writes an index of images."""
    children = []
    for child in images:
        write_blobs(sink, child)
        children.append(sink.put_manifest(child.manifest, media_types.OCI_MANIFEST))
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [child.to_json() for child in children],
        }
    )
    return sink.publish(raw, media_types.OCI_INDEX)


def write_blobs(sink: ImageSink, image: Image) -> None:
    for blob, content in image.blobs:
        sink.put_blob(blob, content)
        assert sink.has_blob(blob)


def check(source: ImageSource, image: Image, digest: Digest | None = None) -> None:
    """Checks that a source gives an image byte for byte."""
    manifest = source.manifest(digest)
    assert isinstance(manifest, ImageManifest)
    assert manifest.raw == image.manifest
    contents = {blob.digest: content for blob, content in image.blobs}
    for blob in (manifest.config, *manifest.layers):
        with source.open_blob(blob) as stream:
            assert stream.read() == contents[blob.digest]
        with source.open_seekable(blob) as stream:
            stream.seek(blob.size // 2)
            assert stream.read(10) == contents[blob.digest][blob.size // 2 :][:10]
    assert source.read_blob(manifest.config) == contents[manifest.config.digest]


def check_index(source: ImageSource, images: list[Image]) -> None:
    """Checks that a source gives an index and its images."""
    index = source.manifest()
    assert isinstance(index, ImageIndex)
    for child, expected in zip(index.manifests, images, strict=True):
        check(source, expected, child.digest)
