"""What `docker save` writes, in the forms of its versions, and what is wrong with others."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from converter.oci import Digest, ImageManifest, encode_json, media_types
from registry_hook.registry.errors import DigestMismatchError
from registry_hook.transports.docker_archive import DockerArchiveSource
from registry_hook.transports.errors import InvalidLayoutError, NoSuchImageError
from registry_hook.transports.members import TarMembers
from tests.images.layout import Compression, Image, build_image
from tests.images.tar import encode_tar, file

LAYERS = [encode_tar([file(name, name.encode() * 100)]) for name in ("base", "app")]


def opened(
    tmp_path: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None
) -> DockerArchiveSource:
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return DockerArchiveSource(TarMembers(path, follow_links=True))


def listed(config: str, layers: list[str]) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": ["app:v1"], "Layers": layers}]).encode()


def image_of(source: DockerArchiveSource) -> ImageManifest:
    manifest = source.manifest()
    assert isinstance(manifest, ImageManifest)
    return manifest


def check_content(source: DockerArchiveSource, image: Image, layers: list[bytes]) -> None:
    manifest = image_of(source)
    assert source.read_blob(manifest.config) == image.config
    contents = []
    for layer in manifest.layers:
        with source.open_blob(layer) as stream:
            contents.append(stream.read())
        with source.open_seekable(layer) as stream:
            assert stream.seek(3) == 3
            assert stream.read(5) == contents[-1][3:8]
    assert contents == layers


def test_the_form_of_old_dockers_with_links_to_equal_layers(tmp_path: Path) -> None:
    image = build_image([*LAYERS, LAYERS[0]])
    source = opened(
        tmp_path,
        {
            "c.json": image.config,
            "aa/layer.tar": LAYERS[0],
            "bb/layer.tar": LAYERS[1],
            "manifest.json": listed("c.json", ["aa/layer.tar", "bb/layer.tar", "cc/layer.tar"]),
        },
        {"cc/layer.tar": "../aa/layer.tar"},
    )
    assert not source.has_manifests
    assert image_of(source).media_type == media_types.DOCKER_MANIFEST
    assert [layer.media_type for layer in image_of(source).layers] == [media_types.DOCKER_LAYER] * 3
    check_content(source, image, [LAYERS[0], LAYERS[1], LAYERS[0]])


def docker_25(image: Image, **changes: bytes) -> dict[str, bytes]:
    """A layout, and a list that names the layout's files."""
    blobs = {f"blobs/sha256/{digest.hex}": content for digest, content in image.blobs.items()}
    blobs[f"blobs/sha256/{image.manifest.digest.hex}"] = image.manifest.raw
    names = [f"blobs/sha256/{layer.digest.hex}" for layer in image.manifest.layers]
    index = {"schemaVersion": 2, "manifests": [image.manifest.descriptor.to_json()]}
    return {
        **blobs,
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index).encode(),
        "manifest.json": listed(f"blobs/sha256/{image.manifest.config.digest.hex}", names),
        **changes,
    }


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
def test_the_form_of_new_dockers_has_the_true_manifest(tmp_path: Path, compression: Compression) -> None:
    image = build_image(LAYERS, compression)
    source = opened(tmp_path, docker_25(image))
    assert source.has_manifests
    assert image_of(source).raw == image.manifest.raw
    check_content(source, image, [image.blobs[layer.digest] for layer in image.manifest.layers])


def test_the_manifest_is_found_through_an_index_beside_platforms_that_are_not_there(tmp_path: Path) -> None:
    image, absent = build_image(LAYERS), build_image(LAYERS[:1])
    index = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [absent.manifest.descriptor.to_json(), image.manifest.descriptor.to_json()],
        }
    )
    entry = {"mediaType": media_types.OCI_INDEX, "digest": str(Digest.of(index)), "size": len(index)}
    files = docker_25(image) | {f"blobs/sha256/{Digest.of(index).hex}": index}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    assert image_of(opened(tmp_path, files)).raw == image.manifest.raw


@pytest.mark.parametrize(
    "index", [b"", b"[]", b'{"schemaVersion":2,"manifests":[]}', b'{"schemaVersion":2,"manifests":[1]}']
)
def test_without_a_manifest_that_fits_one_is_made(tmp_path: Path, index: bytes) -> None:
    image = build_image(LAYERS, "gzip")
    source = opened(tmp_path, docker_25(image) | {"index.json": index})
    assert not source.has_manifests
    assert [layer.media_type for layer in image_of(source).layers] == [media_types.DOCKER_LAYER_GZIP] * 2
    check_content(source, image, [image.blobs[layer.digest] for layer in image.manifest.layers])


def test_a_layer_that_is_not_what_the_true_manifest_says_is_refused(tmp_path: Path) -> None:
    image = build_image(LAYERS, "plain")
    name = f"blobs/sha256/{image.manifest.layers[1].digest.hex}"
    source = opened(tmp_path, docker_25(image) | {name: bytes(len(LAYERS[1]))})
    with pytest.raises(DigestMismatchError), source.open_blob(image.manifest.layers[1]) as stream:
        stream.read()


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, InvalidLayoutError, "has no file manifest.json"),
        ({"manifest.json": b"{"}, InvalidLayoutError, "manifest.json is not JSON"),
        ({"manifest.json": b"[]"}, NoSuchImageError, "0 images instead of one"),
        ({"manifest.json": b"[{},{}]"}, NoSuchImageError, "2 images instead of one"),
        ({"manifest.json": b"{}"}, NoSuchImageError, "no list of images"),
        ({"manifest.json": b"[7]"}, InvalidLayoutError, "names no config and layers"),
        ({"manifest.json": b'[{"Config":"c"}]'}, InvalidLayoutError, "has no file c"),
        ({"manifest.json": b'[{"Config":"c","Layers":[1]}]'}, InvalidLayoutError, "not text"),
        ({"manifest.json": listed("c", ["../../etc/passwd"]), "c": b"{}"}, InvalidLayoutError, "no file"),
        ({"manifest.json": bytes(5 << 20)}, InvalidLayoutError, "too long"),
    ],
)  # fmt: skip
def test_what_is_not_an_image_is_refused(
    tmp_path: Path, files: dict[str, bytes], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        opened(tmp_path, files)


def test_links_that_lead_in_circles_or_out_mean_nothing(tmp_path: Path) -> None:
    files = {"c": b"{}", "manifest.json": listed("c", ["a/layer.tar"])}
    for target in ("../a/layer.tar", "../../../../etc/passwd", "/etc/passwd"):
        with pytest.raises(InvalidLayoutError, match=r"no file a/layer\.tar"):
            opened(tmp_path, files, {"a/layer.tar": target})
