"""`dragonhook convert` with images for several platforms, and with layers that may not be distributed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.classify import Kind, classify
from converter.oci import Digest, ImageIndex, ImageManifest, media_types, parse_manifest
from registry_hook.cli import main
from tests.images.layout import Image, build_image, retyped, write_index_layout
from tests.images.tar import encode_tar, file
from tests.registry_hook.world import small_image

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
AMD64, ARM64 = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
ARMV7 = {"os": "linux", "architecture": "arm", "variant": "v7"}
WINDOWS = {"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1"}


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def convert(tmp_path: Path, *options: str) -> Result:
    return CliRunner().invoke(
        main, ["convert", f"oci:{tmp_path}/in:test", f"oci:{tmp_path}/out:test", "--threads", "1", *options]
    )


def converted(tmp_path: Path, result: Result) -> ImageManifest | ImageIndex:
    assert result.exit_code == 0, result.output
    entry = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"][0]
    assert result.stdout == f"{entry['digest']}\n"
    return read(tmp_path, Digest.parse(entry["digest"]))


def read(tmp_path: Path, digest: Digest) -> ImageManifest | ImageIndex:
    return parse_manifest((tmp_path / "out/blobs/sha256" / digest.hex).read_bytes())


def foreign_image() -> Image:
    """An image for Windows, as they are: its lowest layer is elsewhere."""
    image = build_image([encode_tar([file(name, name.encode())]) for name in ("base", "app")])
    return retyped(image, {0: {"mediaType": FOREIGN, "urls": ["https://elsewhere.example/base"]}})


def four_platforms(tmp_path: Path) -> ImageIndex:
    return write_index_layout(
        tmp_path / "in",
        [
            (small_image("a"), AMD64),
            (small_image("b", "arm64"), ARM64),
            (small_image("c", "arm"), ARMV7),
            (small_image("d"), {"os": "unknown", "architecture": "unknown"}),
        ],
    )


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ((), ["linux/amd64", "linux/arm64", "linux/arm/v7"]),
        (("linux/arm/v7", "linux/amd64"), ["linux/amd64", "linux/arm/v7"]),
        (("linux/aarch64", "linux/arm"), ["linux/arm64", "linux/arm/v7"]),
    ],
)
def test_chosen_platforms_become_an_index(tmp_path: Path, wanted: Sequence[str], made: list[str]) -> None:
    index = four_platforms(tmp_path)
    options = [part for platform in wanted for part in ("--platform", platform)]
    result = converted(tmp_path, convert(tmp_path, *options))
    assert isinstance(result, ImageIndex)
    assert [str(entry.platform) for entry in result.manifests] == made
    assert result.subject == index.descriptor
    for entry in result.manifests:
        child = read(tmp_path, entry.digest)
        assert isinstance(child, ImageManifest)
        assert child.subject is not None


def test_a_single_platform_becomes_its_image(tmp_path: Path) -> None:
    four_platforms(tmp_path)
    result = converted(tmp_path, convert(tmp_path, "--platform", "linux/arm64/v8"))
    assert isinstance(result, ImageManifest)
    assert result.subject is not None
    assert result.subject.digest == small_image("b", "arm64").manifest.digest


def test_a_platform_that_is_not_there_is_named(tmp_path: Path) -> None:
    four_platforms(tmp_path)
    result = convert(tmp_path, "--platform", "linux/amd64", "--platform", "linux/s390x")
    assert result.exit_code == 1
    assert "no image for linux/s390x, only for linux/amd64, linux/arm64, linux/arm/v7" in result.output
    assert not (tmp_path / "out/index.json").exists()


def test_an_image_without_an_index_must_be_for_the_platform(tmp_path: Path) -> None:
    small_image("a").write_layout(tmp_path / "in")
    assert isinstance(converted(tmp_path, convert(tmp_path, "--platform", "linux/x86_64")), ImageManifest)
    result = convert(tmp_path, "--platform", "linux/arm64")
    assert result.exit_code == 1
    assert "no image for linux/arm64, only for linux/amd64" in result.output


def test_a_platform_of_another_form_is_a_mistake(tmp_path: Path) -> None:
    result = convert(tmp_path, "--platform", "arm64")
    assert result.exit_code == 2
    assert "'arm64' is not a platform" in result.output


def test_an_image_with_a_foreign_layer_is_not_converted(tmp_path: Path) -> None:
    image = foreign_image()
    image.write_layout(tmp_path / "in")
    result = convert(tmp_path)
    assert result.exit_code == 1
    assert (
        f"layer 1 of 2 ({image.manifest.layers[0].digest}, which is at https://elsewhere.example/base)"
        in (result.output)
    )
    assert "may not be distributed" in result.output


def test_an_index_keeps_an_image_with_a_foreign_layer_as_it_is(tmp_path: Path) -> None:
    foreign = foreign_image()
    write_index_layout(tmp_path / "in", [(foreign, WINDOWS), (small_image(), AMD64)])
    result = convert(tmp_path)
    index = converted(tmp_path, result)
    assert isinstance(index, ImageIndex)
    kept, made = index.manifests
    assert kept == foreign.manifest.descriptor.__class__.from_json(
        foreign.manifest.descriptor.to_json() | {"platform": WINDOWS}
    )
    assert made.digest != small_image().manifest.digest
    assert result.stderr.count("kept: windows/amd64: ") == 1
    blobs = tmp_path / "out/blobs/sha256"
    for digest in (
        foreign.manifest.digest,
        foreign.manifest.config.digest,
        foreign.manifest.layers[1].digest,
    ):
        assert Digest.of((blobs / digest.hex).read_bytes()) == digest
    assert not (blobs / foreign.manifest.layers[0].digest.hex).exists()


def test_an_index_of_nothing_but_foreign_images_is_not_converted(tmp_path: Path) -> None:
    write_index_layout(tmp_path / "in", [(foreign_image(), WINDOWS)])
    result = convert(tmp_path)
    assert result.exit_code == 1
    assert "may not be distributed" in result.output


def test_foreign_layers_are_converted_when_their_owner_says_so(tmp_path: Path) -> None:
    foreign_image().write_layout(tmp_path / "in")
    result = converted(tmp_path, convert(tmp_path, "--include-foreign"))
    assert isinstance(result, ImageManifest)
    assert [layer.media_type for layer in result.layers[:-1]] == [media_types.NYDUS_BLOB] * 2


def test_one_file_is_the_layer_of_an_image(tmp_path: Path) -> None:
    small_image("a").write_layout(tmp_path / "in")
    made = converted(tmp_path, convert(tmp_path, "--one-file"))
    assert isinstance(made, ImageManifest)
    (layer,) = made.layers
    content = (tmp_path / "out/blobs/sha256" / layer.digest.hex).read_bytes()
    assert content[1024:1028] == b"\xe2\xe1\xf5\xe0"


def test_an_index_of_images_of_one_file_each(tmp_path: Path) -> None:
    four_platforms(tmp_path)
    made = converted(tmp_path, convert(tmp_path, "--one-file"))
    assert isinstance(made, ImageIndex)
    assert [str(entry.platform) for entry in made.manifests] == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    assert made.subject is None
    assert classify(made) is Kind.NYDUS, "so that nothing converts it again"


@pytest.mark.parametrize("option", ["--kernel-mountable", "--merged-index", "--digester=sha256"])
def test_one_file_excludes_what_it_cannot_have(tmp_path: Path, option: str) -> None:
    small_image("a").write_layout(tmp_path / "in")
    result = convert(tmp_path, "--one-file", option)
    assert result.exit_code == 2
    assert "--one-file" in result.output


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("oci:{}/in:test", "oci:{}/in:test"),
        ("oci:{}/in", "oci:{}/in/../in:test"),
        ("oci-archive:{}/a.tar:x", "oci-archive:{}/a.tar:y"),
        ("docker://127.0.0.1:1/app", "docker://127.0.0.1:1/app:latest"),
    ],
)
def test_the_source_is_not_replaced(tmp_path: Path, source: str, destination: str) -> None:
    small_image().write_layout(tmp_path / "in")
    before = (tmp_path / "in/index.json").read_bytes()
    for options in ([], ["--one-file"]):
        result = CliRunner().invoke(
            main, ["convert", source.format(tmp_path), destination.format(tmp_path), *options]
        )
        assert result.exit_code == 2, result.output
        assert "the result would replace the source" in result.output
    assert (tmp_path / "in/index.json").read_bytes() == before


def test_other_names_and_merged_indexes_may_go_where_the_source_is(tmp_path: Path) -> None:
    small_image().write_layout(tmp_path / "in")
    place = f"oci:{tmp_path}/in:test"
    for destination, *options in ((f"oci:{tmp_path}/in:other",), (place, "--merged-index")):
        result = CliRunner().invoke(main, ["convert", place, destination, *options])
        assert result.exit_code == 0, result.output
