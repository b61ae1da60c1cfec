"""Whole images: what comes out, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from converter.blob import BlobReader
from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.classify import Kind, classify
from converter.errors import InvalidImageError, InvalidLayerError, LimitExceededError, UnsupportedImageError
from converter.fs_verity import fs_verity_of
from converter.image import ConvertedImage, convert_image
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.oci.manifest import MAX_MANIFEST_BYTES
from converter.options import ConvertOptions
from converter.progress import Progress
from converter.rafs.layout import Compressor
from converter.rafs.reader import read_bootstrap
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file, symlink, whiteout

LAYERS = (
    [directory("d", 0o700), file("d/a", b"content of a"), file("d/gone", b"gone" * 1000)],
    [symlink("l", "d/a"), whiteout("d/gone")],
    [file("d/b", b"content of b"), file("d/again", b"content of b")],
)


def convert(image: Image, work: Path, **arguments: Any) -> ConvertedImage:
    options = arguments.pop("options", ConvertOptions())
    return convert_image(image.manifest, image.config, image.open_layer, work, options, **arguments)


def three_layers() -> Image:
    return build_image([encode_tar(layer) for layer in LAYERS])


def with_manifest(image: Image, **changes: Any) -> Image:
    """The image with other fields in its manifest."""
    manifest = parse_manifest(encode_json(json.loads(image.manifest.raw) | changes))
    assert isinstance(manifest, ImageManifest)
    return replace(image, manifest=manifest)


def with_config(image: Image, config: bytes) -> Image:
    """The image with another config, rightly named by its manifest."""
    descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
    return replace(with_manifest(image, config=descriptor.to_json()), config=config)


def test_manifest(tmp_path: Path) -> None:
    image = three_layers()
    converted = convert(image, tmp_path, subject=image.manifest.descriptor)
    manifest = json.loads(converted.manifest.raw)
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers", "subject", "annotations"]
    assert manifest["mediaType"] == media_types.OCI_MANIFEST
    assert manifest["config"] == {
        "mediaType": media_types.OCI_CONFIG,
        "digest": str(Digest.of(converted.config)),
        "size": len(converted.config),
    }
    assert manifest["subject"] == image.manifest.descriptor.to_json()
    assert manifest["annotations"] == {
        "containerd.io/snapshot/nydus-source-digest": str(image.manifest.digest),
        "containerd.io/snapshot/nydus-fs-version": "6",
    }
    *blobs, bootstrap = manifest["layers"]
    for layer, blob in zip(blobs, converted.blobs, strict=True):
        content = blob.path.read_bytes()
        assert layer == {
            "mediaType": "application/vnd.oci.image.layer.nydus.blob.v1",
            "digest": str(Digest.of(content)),
            "size": len(content),
            "annotations": {"containerd.io/snapshot/nydus-blob": "true"},
        }
    content = converted.bootstrap.path.read_bytes()
    assert bootstrap == {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": str(Digest.of(content)),
        "size": len(content),
        "annotations": {
            "containerd.io/snapshot/nydus-bootstrap": "true",
            "containerd.io/snapshot/nydus-fs-version": "6",
        },
    }


def test_docker_types(tmp_path: Path) -> None:
    image = three_layers()
    oci = convert(image, tmp_path)
    docker = convert(image, tmp_path, options=ConvertOptions(media_types="docker"))
    manifest = json.loads(docker.manifest.raw)
    assert docker.manifest.media_type == manifest["mediaType"] == media_types.DOCKER_MANIFEST
    assert manifest["config"]["mediaType"] == "application/vnd.docker.container.image.v1+json"
    types = [layer["mediaType"] for layer in manifest["layers"]]
    assert types == [
        *["application/vnd.oci.image.layer.nydus.blob.v1"] * 3,
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ]
    assert [layer.digest for layer in docker.manifest.layers] == [
        layer.digest for layer in oci.manifest.layers
    ]
    assert classify(docker.manifest) is Kind.NYDUS


def test_config_changes_only_what_it_must(tmp_path: Path) -> None:
    image = three_layers()
    source = json.loads(image.config) | {"history": [{"created_by": "sh"}], "x-unknown": {"b": 1, "a": "é"}}
    image = with_config(image, encode_json(source))
    converted = convert(image, tmp_path)
    config = json.loads(converted.config)
    diff_ids = [str(blob.descriptor.digest) for blob in converted.blobs]
    tar = gzip.decompress(converted.bootstrap.path.read_bytes())
    assert str(converted.bootstrap.diff_id) == str(Digest.of(tar))
    assert config == source | {
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids, str(Digest.of(tar))]},
        "history": [
            {"created_by": "sh"},
            {"created_by": "Nydus Converter", "comment": "Nydus Bootstrap Layer"},
        ],
    }
    assert list(config) == list(source)


def test_bootstrap_layer(tmp_path: Path) -> None:
    converted = convert(three_layers(), tmp_path)
    with tarfile.open(converted.bootstrap.path) as archive:
        members = archive.getmembers()
        content = {member.name: archive.extractfile(member) for member in members if member.isfile()}
        files = {name: opened.read() for name, opened in content.items() if opened is not None}
    with_data = [blob.descriptor.digest.hex for blob in converted.blobs if blob.chunk_count]
    assert len(with_data) == 2
    assert [member.name for member in members] == [
        "image", "image/image.boot", *(f"image/{name}.blob.meta" for name in with_data)
    ]  # fmt: skip
    assert [member.mode for member in members] == [0o755, 0o444, 0o444, 0o444]
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    boot = files["image/image.boot"]
    assert boot == converted.bootstrap.boot_path.read_bytes()
    assert (converted.bootstrap.boot_digest, converted.bootstrap.boot_size) == (Digest.of(boot), len(boot))
    for name in with_data:
        cache_file = files[f"image/{name}.blob.meta"]
        assert len(cache_file) == 8192
        assert cache_file[-4:] == bytes.fromhex("0bb10bb1")


def test_bootstrap_names_the_blobs_that_are_used(tmp_path: Path) -> None:
    converted = convert(three_layers(), tmp_path)
    read = read_bootstrap(converted.bootstrap.boot_path.read_bytes())
    hexes = [blob.descriptor.digest.hex.encode() for blob in converted.blobs]
    assert [blob.blob_id for blob in read.blobs] == [hexes[0], hexes[2]]
    assert [blob.features for blob in read.blobs] == [0x70000021, 0x70000021]
    assert read.compressor is Compressor.ZSTD
    assert read.name_count == converted.stats.files == 5


def test_layers_whose_files_are_all_replaced_stay_in_the_manifest_only(tmp_path: Path) -> None:
    image = build_image([encode_tar([file("a", b"old")]), encode_tar([file("a", b"new")])])
    converted = convert(image, tmp_path)
    read = read_bootstrap(converted.bootstrap.boot_path.read_bytes())
    assert [blob.blob_id.decode() for blob in read.blobs] == [converted.blobs[1].descriptor.digest.hex]
    assert len(converted.manifest.layers) == 3


def test_equal_layers_share_a_blob(tmp_path: Path) -> None:
    tar = encode_tar([file("a", b"a"), file("b", b"b")])
    image = build_image([tar, encode_tar([file("a", b"new")]), tar], ["gzip", "plain", "zstd"])
    converted = convert(image, tmp_path)
    assert converted.blobs[0].descriptor == converted.blobs[2].descriptor
    read = read_bootstrap(converted.bootstrap.boot_path.read_bytes())
    assert len(read.blobs) == 1
    assert len(converted.manifest.layers) == 4


@pytest.mark.parametrize("compressor", ["zstd", "none"])
def test_chunk_lists_cover_their_blobs(compressor: Any, tmp_path: Path) -> None:
    converted = convert(three_layers(), tmp_path, options=ConvertOptions(compressor=compressor))
    for blob in converted.blobs:
        encoded, content = blob.chunk_list_path.read_bytes(), blob.path.read_bytes()
        reader = ChunkListReader(io.BytesIO(encoded))
        at = 0
        for records in reader:
            for segment in records:
                assert hashlib.sha256(content[at : at + segment.length]).digest() == segment.sha256
                at += segment.length
        assert at == len(content)
        assert blob.chunk_list == Descriptor(media_types.CHUNK_LIST, Digest.of(encoded), len(encoded))
        assert blob.root_hash == reader.summary.root_hash
        assert (
            blob.chunk_count
            == reader.summary.chunk_count
            == len(BlobReader(io.BytesIO(content)).chunk_table())
        )
        assert blob.compressor == compressor
    assert [blob.chunk_count for blob in converted.blobs] == [2, 0, 1]


def test_docker_images_become_oci_images(tmp_path: Path) -> None:
    image = three_layers()
    document = json.loads(image.manifest.raw) | {"mediaType": media_types.DOCKER_MANIFEST}
    document["config"]["mediaType"] = media_types.DOCKER_CONFIG
    for layer in document["layers"]:
        layer["mediaType"] = media_types.DOCKER_LAYER_GZIP
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    converted = convert(replace(image, manifest=manifest), tmp_path)
    assert converted.manifest.media_type == media_types.OCI_MANIFEST
    assert converted.manifest.config.media_type == media_types.OCI_CONFIG
    (tmp_path / "oci").mkdir()
    assert converted.config == convert(image, tmp_path / "oci").config


def test_annotations_of_the_source_stay(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.title": "Text with ä"}
    converted = convert(with_manifest(three_layers(), annotations=annotations), tmp_path)
    assert converted.manifest.annotations.items() > annotations.items()


def test_no_layers(tmp_path: Path) -> None:
    converted = convert(build_image([]), tmp_path)
    assert converted.blobs == ()
    assert [layer.media_type for layer in converted.manifest.layers] == [media_types.OCI_LAYER_GZIP]
    assert converted.bootstrap.boot_size == 8192


def test_127_layers(tmp_path: Path) -> None:
    image = build_image([encode_tar([file(f"f{n}", b"%d" % n)]) for n in range(127)], "plain")
    converted = convert(image, tmp_path)
    assert converted.stats.files == 127
    assert len(read_bootstrap(converted.bootstrap.boot_path.read_bytes()).blobs) == 127


def test_more_blobs_than_the_format_has(tmp_path: Path) -> None:
    image = build_image([encode_tar([file(f"f{n}", b"%d" % n)]) for n in range(255)], "plain")
    with pytest.raises(Exception, match="255 data blobs are more than the 254"):
        convert(image, tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"not JSON", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "lacks rootfs"),
        (b'{"rootfs":7}', "lacks rootfs"),
        (b'{"rootfs":{"diff_ids":[]}}', "one diff id for each of 3 layers"),
        (b'{"rootfs":{"diff_ids":"abc"}}', "one diff id for each of 3 layers"),
        (b'{"rootfs":{"diff_ids":[1,2,3]},"history":7}', "history"),
        (b'{"rootfs":{"diff_ids":[1,2,3]}}', r"layer 1/3 \(sha256:.*\): its tar has the digest"),
    ],
)
def test_a_config_that_does_not_fit(config: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match=message):
        convert(with_config(three_layers(), config), tmp_path)


def test_a_config_with_text_that_is_not_unicode(tmp_path: Path) -> None:
    image = three_layers()
    config = json.dumps(json.loads(image.config) | {"author": "\ud800"}).encode()
    with pytest.raises(InvalidImageError, match="not Unicode"):
        convert(with_config(image, config), tmp_path)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_config_with_numbers_that_json_does_not_have(number: bytes, tmp_path: Path) -> None:
    """Python reads them, and writes words that no other reader takes."""
    image = three_layers()
    config = image.config.removesuffix(b"}") + b',"x":' + number + b"}"
    with pytest.raises(InvalidImageError, match="number"):
        convert(with_config(image, config), tmp_path)


def test_annotations_that_are_not_unicode(tmp_path: Path) -> None:
    image = three_layers()
    document = json.loads(image.manifest.raw) | {"annotations": {"a": "\ud800"}}
    manifest = parse_manifest(json.dumps(document).encode())
    assert isinstance(manifest, ImageManifest)
    with pytest.raises(InvalidImageError, match="not Unicode"):
        convert(replace(image, manifest=manifest), tmp_path)


def test_a_manifest_that_grows_over_the_limit_of_registries(tmp_path: Path) -> None:
    image = three_layers()
    room = MAX_MANIFEST_BYTES - len(with_manifest(image, annotations={"a": ""}).manifest.raw)
    with pytest.raises(LimitExceededError, match="over the limit"):
        convert(with_manifest(image, annotations={"a": "a" * room}), tmp_path)


def test_another_config_than_the_manifest_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match="not the one"):
        convert(replace(three_layers(), config=b"{}"), tmp_path)


def test_an_artifact_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="not an image of tar layers but an artifact"):
        convert(with_manifest(three_layers(), artifactType="application/x"), tmp_path)


def test_our_own_product_is_not_converted_again(tmp_path: Path) -> None:
    converted = convert(three_layers(), tmp_path)
    product = replace(three_layers(), manifest=converted.manifest, config=converted.config)
    with pytest.raises(UnsupportedImageError, match="is a Nydus image already"):
        convert(product, tmp_path)


def test_a_damaged_layer_is_named(tmp_path: Path) -> None:
    image = three_layers()
    damaged = image.manifest.layers[1]
    blobs = image.blobs | {damaged.digest: image.blobs[damaged.digest][:-20]}
    with pytest.raises(InvalidLayerError, match=rf"^layer 2/3 \({damaged.digest}\): [^\n]+$"):
        convert(replace(image, blobs=blobs), tmp_path)


def test_a_layer_over_a_limit_is_named(tmp_path: Path) -> None:
    layers = [encode_tar([file("a")]), encode_tar([file("n" * 256)])]
    image = build_image(layers)
    with pytest.raises(
        LimitExceededError, match=rf"^layer 2/2 \({image.manifest.layers[1].digest}\): [^\n]+$"
    ):
        convert(image, tmp_path)


class Recorder(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        self.told.append((stage, done_bytes, total_bytes))


def test_progress(tmp_path: Path) -> None:
    image, progress = three_layers(), Recorder()
    convert(image, tmp_path, progress=progress)
    last = {stage: (done, total) for stage, done, total in progress.told}
    assert list(last) == ["layer 1/3", "layer 2/3", "layer 3/3", "bootstrap"]
    for number, layer in enumerate(image.manifest.layers):
        assert last[f"layer {number + 1}/3"] == (layer.size, layer.size)


class CancelledError(Exception):
    """What a caller may raise to stop."""


class Cancelling(Recorder):
    """Stops in the second layer."""

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        if stage == "layer 2/3":
            raise CancelledError


def test_cancelling(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        convert(three_layers(), tmp_path, progress=Cancelling())


class SourceError(Exception):
    """What a registry client may raise."""


def test_errors_of_the_source_pass_through(tmp_path: Path) -> None:
    def broken(descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        raise SourceError

    image = three_layers()
    with pytest.raises(SourceError):
        convert_image(image.manifest, image.config, broken, tmp_path, ConvertOptions())


def test_the_fingerprint_tells_what_changes_bytes() -> None:
    options = [
        ConvertOptions(),
        ConvertOptions(level=4),
        ConvertOptions(chunk_size=4096),
        ConvertOptions(compressor="none"),
        ConvertOptions(compressor="none", level=4),
        ConvertOptions(compressor="lz4_block"),
        ConvertOptions(digester="sha256"),
        ConvertOptions(fs_version=5),
        ConvertOptions(media_types="docker"),
        ConvertOptions(prefetch=()),
        ConvertOptions(compressor="none", kernel_mountable=True),
    ]
    assert len({chosen.fingerprint() for chosen in options}) == len(options)
    assert ConvertOptions(threads=3).fingerprint() == ConvertOptions().fingerprint()


def test_the_fingerprint_of_the_default_is_what_it_was() -> None:
    """Otherwise every image of every registry would be converted again."""
    assert ConvertOptions().fingerprint().startswith("v1-rafs6-zstd-3-1048576-zstd")
    kernel = ConvertOptions(compressor="none", kernel_mountable=True)
    assert kernel.fingerprint().startswith("v1-rafs6-none-3-1048576-kernel-fsverity-zstd")


@pytest.mark.parametrize(
    "wrong",
    [
        {"compressor": "lz4"},
        {"level": 0},
        {"level": 20},
        {"chunk_size": 3 << 20},
        {"chunk_size": 2048},
        {"chunk_size": 32 << 20},
        {"chunk_size": 0},
        {"kernel_mountable": True},
        {"threads": -1},
        {"fs_version": 7},
        {"digester": "sha1"},
        {"media_types": "docker2"},
        {"prefetch": ("usr",)},
        {"prefetch": ("/usr/../etc",)},
        {"prefetch": ("/usr/",)},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        ConvertOptions(**wrong)


def test_kernel_mountable_images_have_fs_verity_digests(tmp_path: Path) -> None:
    image = build_image([encode_tar([file("a", b"a" * 10_000)]), encode_tar([directory("d")])])
    options = ConvertOptions(compressor="none", kernel_mountable=True)
    converted = convert_image(image.manifest, image.config, image.open_layer, tmp_path, options)
    for layer, blob in zip(converted.manifest.layers, converted.blobs, strict=False):
        assert layer.annotations[media_types.ANNOTATION_FS_VERITY] == str(fs_verity_of(blob.path))
    bootstrap = converted.manifest.layers[-1].annotations[media_types.ANNOTATION_BOOTSTRAP_FS_VERITY]
    assert bootstrap == str(fs_verity_of(converted.bootstrap.boot_path))
