"""dragonhook check: what it says of right and of wrong conversions, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from tests.images.tar import directory, encode_tar, file, symlink
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
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 0, result.output
    assert ": the same (3 names, 10004 bytes of files, " in result.output
    assert ("prefetch list taken from DST: /d\n" in result.output) is ("--prefetch" in options)


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


@pytest.mark.parametrize("version", ["5", "6"])
def test_another_prefetch_list_is_told(version: str, tmp_path: Path) -> None:
    write(two_layers(), tmp_path, "--prefetch", "/d", "--fs-version", version)
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--prefetch", "/d/a")
    assert result.exit_code == 3
    assert "bootstrap: its prefetch table lists '/d', not what '/d/a' gives; if the" in result.output
    same = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--prefetch", "/d")
    assert (same.exit_code, "taken from" in same.output) == (0, False), same.output


def test_a_prefetch_list_that_layers_do_not_share_has_to_be_given(tmp_path: Path) -> None:
    """Over a link of a lower layer a path leads to what the upper layer has under another name."""
    lower = [directory("usr"), symlink("bin", "usr")]
    image = build_image([encode_tar(lower), encode_tar([directory("usr"), file("usr/a", b"a")])])
    write(image, tmp_path, "--prefetch", "/bin/a")
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3
    assert "its prefetch table lists nothing, not what '/usr/a' gives; if the conversion was" in result.output
    told = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--prefetch", "/bin/a")
    assert told.exit_code == 0, told.output


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


def merge(directory: Path, *options: str) -> Result:
    """Converts `DIRECTORY/in` into a merged index in `DIRECTORY/out`."""
    return run("convert", f"oci:{directory}/in:v1", f"oci:{directory}/out:v1", "--merged-index", *options)


def test_the_merged_index_of_an_image_is_right(tmp_path: Path) -> None:
    two_layers().write_layout(tmp_path / "in", "v1")
    assert merge(tmp_path).exit_code == 0
    for place in ("in", "out"):  # the index itself means its source, too
        result = run("check", f"oci:{tmp_path}/{place}:v1", f"oci:{tmp_path}/out:v1")
        assert result.exit_code == 0, result.output
        assert [line.partition(": ")[0] for line in result.output.splitlines()] == [
            "index", "linux/amd64, original", "linux/amd64",
        ]  # fmt: skip
    two_layers(b"lost").write_layout(tmp_path / "other", "v1")
    result = run("check", f"oci:{tmp_path}/other:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3
    assert "index: it lacks the source's sha256:" in result.output
    assert "linux/amd64: /b: the content of chunk 0 is different" in result.output


def test_a_merged_index_of_chosen_platforms(tmp_path: Path) -> None:
    write_index(tmp_path / "in", (small_image("a"), "amd64"), (small_image("b", "arm64"), "arm64"))
    assert merge(tmp_path, "--platform", "linux/arm64").exit_code == 0
    arguments = ("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    right = run(*arguments, "--platform", "linux/arm64")
    assert right.exit_code == 0, right.output
    assert [line.partition(": ")[0] for line in right.output.splitlines()] == [
        "index", "linux/amd64, original", "linux/arm64, original", "linux/arm64",
    ]  # fmt: skip
    wrong = run(*arguments)
    assert wrong.exit_code == 3
    assert f"it has no conversion of {small_image('a').manifest.digest} for linux/amd64" in wrong.output


@pytest.mark.parametrize("which", ["layer of the original", "config of the original", "blob"])
def test_damage_in_a_merged_index_is_found(which: str, tmp_path: Path) -> None:
    image = two_layers()
    image.write_layout(tmp_path / "in", "v1")
    assert merge(tmp_path).exit_code == 0
    blobs = tmp_path / "out/blobs/sha256"
    converted = json.loads(
        (blobs / layout_manifest(tmp_path / "out")["manifests"][1]["digest"][7:]).read_bytes()
    )
    path = (
        blobs
        / {
            "layer of the original": image.manifest.layers[1].digest.hex,
            "config of the original": image.manifest.config.digest.hex,
            "blob": converted["layers"][0]["digest"][7:],
        }[which]
    )
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3, result.output
    assert ("linux/amd64, original: 1 differences" in result.output) == (which != "blob")


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries.reverse(),
        lambda entries: entries[0]["platform"].update(architecture="arm64"),
        lambda entries: entries[1]["platform"].update(architecture="arm64"),
        lambda entries: entries[1].update(annotations={"a": "b"}),
        lambda entries: entries.append(dict(entries[1])),
        lambda entries: entries.pop(0),
    ],
)
def test_another_merged_index_is_wrong(
    change: Callable[[list[dict]], object],  # type: ignore[type-arg]
    tmp_path: Path,
) -> None:
    two_layers().write_layout(tmp_path / "in", "v1")
    assert merge(tmp_path).exit_code == 0
    index = layout_manifest(tmp_path / "out")
    change(index["manifests"])
    raw = json.dumps(index, separators=(",", ":")).encode()
    (tmp_path / "out/blobs/sha256" / Digest.of(raw).hex).write_bytes(raw)
    named = json.loads((tmp_path / "out/index.json").read_bytes())
    named["manifests"][0].update(digest=str(Digest.of(raw)), size=len(raw))
    (tmp_path / "out/index.json").write_text(json.dumps(named))
    result = run("check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 3, result.output
    assert "its entries, their order or form, or its annotations" in result.output
