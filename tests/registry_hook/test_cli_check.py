"""dragonhook check: what it says of right and of wrong conversions, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.oci import Descriptor, Digest, media_types
from registry_hook import logs
from registry_hook.cli import main
from registry_hook.converted_index import converted_index
from tests.converter.sharing_images import image_of, noise
from tests.images.layout import Image, build_image, retyped, write_index_layout
from tests.images.tar import directory, encode_tar, file
from tests.registry_hook.world import small_image


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(logs, "configure", lambda *_: None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def two_layers(last: bytes = b"last") -> Image:
    layers = ([directory("d"), file("d/a", b"a" * 10_000)], [file("b", last)])
    return build_image([encode_tar(layer) for layer in layers])


def write(image: Image, directory: Path, *options: str) -> None:
    """The image in `DIRECTORY/in`, its conversion in `DIRECTORY/out`."""
    image.write_layout(directory / "in", "v1")
    made = run("convert", f"oci:{directory}/in:v1", f"oci:{directory}/out:v1", "--threads", "1", *options)
    assert made.exit_code == 0, made.output


@pytest.mark.parametrize(
    "options",
    [(), ("--compressor", "lz4_block"), ("--kernel-mountable",), ("--media-types", "docker"),
     ("--prefetch", "/d"), ("--fs-version", "5"), ("--oci-ref",)],
)  # fmt: skip
def test_a_conversion_is_right(options: tuple[str, ...], tmp_path: Path) -> None:
    write(two_layers(), tmp_path, *options)
    told = options if "--prefetch" in options else ()
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", *told)
    assert result.exit_code == 0, result.output
    assert ": the same (3 names, 10004 bytes of files, " in result.output


def test_the_conversion_of_another_image_is_wrong(tmp_path: Path) -> None:
    write(two_layers(), tmp_path)
    two_layers(b"lost").write_layout(tmp_path / "other", "v1")
    result = run("check", f"oci:{tmp_path}/other:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3, result.output
    assert ": /b: the content of chunk 0 is different" in result.output
    assert "nydus-source-digest is 'sha256:" in result.output
    short = run("check", f"oci:{tmp_path}/other:v1", f"oci:{tmp_path}/out:v1", "--limit", "1")
    assert "more" in short.output
    assert len(short.output.splitlines()) == 3


def test_another_prefetch_list_is_told(tmp_path: Path) -> None:
    write(two_layers(), tmp_path, "--prefetch", "/d")
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3
    assert "bootstrap: its bytes are not those that go with its content" in result.output


def test_a_damaged_blob_is_a_difference_and_a_damaged_source_is_not(tmp_path: Path) -> None:
    write(two_layers(), tmp_path)
    for side, status in (("out", 3), ("in", 1)):
        manifest = layout_manifest(tmp_path / side)
        for layer in (manifest["layers"][0], manifest["layers"][-1]):
            path = tmp_path / side / "blobs/sha256" / layer["digest"].removeprefix("sha256:")
            content = path.read_bytes()
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
            assert result.exit_code == status, result.output
            path.write_bytes(content)


def layout_manifest(directory: Path) -> dict:  # type: ignore[type-arg]
    entry = json.loads((directory / "index.json").read_bytes())["manifests"][0]
    document = json.loads((directory / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())
    assert isinstance(document, dict)
    return document


def write_index(directory: Path, *images: tuple[Image, str]) -> None:
    """A layout with an index of images for linux on some architectures."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    entries = []
    for image, architecture in images:
        for digest, content in (*image.blobs.items(), (image.manifest.digest, image.manifest.raw)):
            (blobs / digest.hex).write_bytes(content)
        entries.append(
            image.manifest.descriptor.to_json() | {"platform": {"os": "linux", "architecture": architecture}}
        )
    media_type = "application/vnd.oci.image.index.v1+json"
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_bytes(raw)
    (blobs / Digest.of(raw).hex).write_bytes(raw)
    named = Descriptor(media_type, Digest.of(raw), len(raw)).to_json()
    named["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))


def test_the_images_of_an_index_are_checked_one_by_one(tmp_path: Path) -> None:
    arm = small_image("b", "arm64")
    write_index(tmp_path / "in", (small_image("a"), "amd64"), (arm, "arm64"))
    assert run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1").exit_code == 0
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 0, result.output
    assert [line.partition(":")[0] for line in result.output.splitlines()] == [
        "index", "linux/amd64", "linux/arm64"
    ]  # fmt: skip
    write_index(tmp_path / "other", (small_image("a"), "amd64"), (arm, "arm"))
    result = run("check", f"oci:{tmp_path}/other:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3
    assert "it has images for linux/amd64, linux/arm64, should have linux/amd64, linux/arm" in result.output


def test_the_conversion_of_one_image_of_an_index(tmp_path: Path) -> None:
    write_index(tmp_path / "in", (small_image("a"), "amd64"), (small_image("b", "arm64"), "arm64"))
    chosen = ("--platform", "linux/arm64")
    assert run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", *chosen).exit_code == 0
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [("oci:in:v1", 1, "not a Nydus image"), ("oci:nowhere:v1", 1, "nowhere"), ("dir:x", 2, "dir:x")],
)
def test_what_cannot_be_compared(target: str, status: int, message: str, tmp_path: Path) -> None:
    two_layers().write_layout(tmp_path / "in", "v1")
    result = run("check", "oci:in:v1", target)
    assert result.exit_code == status, result.output
    assert message in result.output
    assert result.output.count("\n") == 1


def test_images_that_share_blobs_are_the_same(tmp_path: Path) -> None:
    """Borrowed blobs may be compressed otherwise, and be hidden by an upper layer."""
    shared = {"a": noise(1, 100_000) + b"text" * 100_000, "b": noise(2, 3 << 20)}
    image_of(shared).write_layout(tmp_path / "in1", "v1")
    image_of({"c": shared["a"], "d": b"new" * 1000}, {"d": shared["b"], "c": b"other"}).write_layout(
        tmp_path / "in2", "v2"
    )
    lender = f"oci:{tmp_path}/old:v1"
    assert run("convert", f"oci:{tmp_path}/in1:v1", lender).exit_code == 0
    for number, options in enumerate((["--compressor", "lz4_block"], ["--share-layers"], ["--level", "5"])):
        target = f"oci:{tmp_path}/new{number}:v2"
        made = run("convert", f"oci:{tmp_path}/in2:v2", target, "--chunk-dict", lender, *options)
        assert made.exit_code == 0, made.output
        checked = run("check", f"oci:{tmp_path}/in2:v2", target)
        assert checked.exit_code == 0, checked.output


def test_an_image_of_an_index_that_may_not_be_distributed_is_right_as_it_is(tmp_path: Path) -> None:
    foreign = retyped(small_image("w"), {0: {"mediaType": media_types.FOREIGN_LAYER_TYPES[-1]}})
    platforms: list[dict[str, object]] = [
        {"os": name, "architecture": "amd64"} for name in ("linux", "windows")
    ]
    write_index_layout(tmp_path / "in", [(small_image("a"), platforms[0]), (foreign, platforms[1])], "v1")
    made = run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert made.exit_code == 0, made.output
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 0, result.output


def test_an_image_of_an_index_that_was_not_converted_is_wrong(tmp_path: Path) -> None:
    image, other = small_image("a"), small_image("b")
    platform: dict[str, object] = {"os": "linux", "architecture": "amd64"}
    source = write_index_layout(tmp_path / "in", [(image, platform)], "v1")
    for number, (kept, reason) in enumerate(
        ((image, "was not converted"), (other, "nor an image of the source"))
    ):
        entry = replace(kept.manifest.descriptor, platform=source.manifests[0].platform)
        place = tmp_path / str(number)
        write_index_layout(place, [(kept, platform)], "v1")
        index = converted_index(source, [entry])
        (place / "blobs/sha256" / index.digest.hex).write_bytes(index.raw)
        named = index.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
        (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{place}:v1")
        assert result.exit_code == 3, result.output
        assert reason in result.output
