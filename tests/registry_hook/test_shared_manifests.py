"""Indexes in which several entries name one image, and annotations of indexes and their entries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.oci import Digest, ImageIndex, encode_json, parse_manifest
from registry_hook.cli import main
from tests.images.layout import Image, write_index_layout
from tests.registry_hook.world import small_image

AMD64, ARM64 = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
WINDOWS = [{"os": "windows", "architecture": "amd64", "os.version": f"10.0.{n}"} for n in (17763, 20348)]


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def run(verb: str, source: Path, target: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [verb, f"oci:{source}:test", f"oci:{target}:test", *options])


def named(layout: Path) -> ImageIndex:
    """The index that a layout's only name means."""
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    index = parse_manifest((layout / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    assert isinstance(index, ImageIndex)
    return index


def entries_of(index: ImageIndex) -> list[tuple[dict[str, object], bool]]:
    """The platform of each entry, and whether it is a conversion in a merged index."""
    return [
        (entry.platform.to_json() if entry.platform else {}, entry.artifact_type is not None)
        for entry in index.manifests
    ]


def annotate(layout: Path, index: Mapping[str, str], entries: Sequence[Mapping[str, str]]) -> Digest:
    """Puts annotations into the index that a layout's only name means, and into its entries."""
    document = json.loads(named(layout).raw) | {"annotations": dict(index)}
    for entry, own in zip(document["manifests"], entries, strict=True):
        entry["annotations"] = dict(own)
    return rename(layout, encode_json(document))


def rename(layout: Path, raw: bytes) -> Digest:
    """Puts other bytes under a layout's only name."""
    (layout / "blobs/sha256" / Digest.of(raw).hex).write_bytes(raw)
    listed = json.loads((layout / "index.json").read_bytes())
    listed["manifests"][0] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    (layout / "index.json").write_text(json.dumps(listed))
    return Digest.of(raw)


@pytest.mark.parametrize("platforms", [[AMD64, ARM64], WINDOWS], ids=["architectures", "versions"])
@pytest.mark.parametrize("merged", [True, False])
def test_entries_of_one_manifest_keep_their_platforms(
    tmp_path: Path, platforms: list[dict[str, object]], merged: bool
) -> None:
    shared = small_image()
    others: list[tuple[Image, dict[str, object]]] = [(small_image("b"), {**AMD64, "variant": "v2"})]
    source, out = tmp_path / "in", tmp_path / "out"
    write_index_layout(source, [(shared, platforms[0]), *others, (shared, platforms[1])])
    result = run("convert", source, out, *(["--merged-index"] if merged else []))
    assert result.exit_code == 0, result.output
    wanted = [dict(sorted(p.items())) for p in (platforms[0], others[0][1], platforms[1])]
    made = [(dict(sorted(platform.items())), marked) for platform, marked in entries_of(named(out))]
    assert made == ([(p, False) for p in wanted] if merged else []) + [(p, merged) for p in wanted]
    conversions = named(out).manifests[-3:]
    assert conversions[0].digest == conversions[2].digest != conversions[1].digest
    checked = run("check", source, out)
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("option", ["", "--merged-index", "--one-file"])
def test_annotations_of_an_index_and_its_entries_are_kept(tmp_path: Path, option: str) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_index_layout(source, [(small_image(), AMD64), (small_image("b", "arm64"), ARM64)])
    digest = annotate(source, {"org.example.of": "index"}, [{"org.example.of": "a"}, {}])
    result = run("convert", source, out, *([option] if option else []))
    assert result.exit_code == 0, result.output
    made = named(out)
    assert made.annotations == {
        "org.example.of": "index", "containerd.io/snapshot/nydus-source-digest": str(digest),
    }  # fmt: skip
    kept = [{"org.example.of": "a"}, {}] * (2 if option == "--merged-index" else 1)
    assert [entry.annotations for entry in made.manifests] == kept
    if option == "--one-file":
        return
    checked = run("check", source, out)
    assert checked.exit_code == 0, checked.output
    entries = [dict(entry.annotations) for entry in made.manifests]
    annotate(out, made.annotations, [*entries[:-1], {"org.example.of": "somebody else"}])
    checked = run("check", source, out)
    assert checked.exit_code == 3, checked.output


def test_merging_again_gives_the_same_index(tmp_path: Path) -> None:
    write_index_layout(tmp_path / "0", [(small_image(), AMD64), (small_image("b", "arm64"), ARM64)])
    annotate(tmp_path / "0", {"org.example.of": "index"}, [{"org.example.of": "a"}, {}])
    for step in range(2):
        result = run("convert", tmp_path / f"{step}", tmp_path / f"{step + 1}", "--merged-index")
        assert result.exit_code == 0, result.output
    assert named(tmp_path / "2").raw == named(tmp_path / "1").raw
    small_image().write_layout(tmp_path / "single", "test")
    for source, target in (("single", "s1"), ("s1", "s2"), ("s2", "s2")):
        result = run("convert", tmp_path / source, tmp_path / target, "--merged-index")
        assert result.exit_code == 0, result.output
    assert named(tmp_path / "s2").raw == named(tmp_path / "s1").raw


@pytest.mark.parametrize("mark", ["artifact type", "feature", "none"])
def test_conversions_of_others_are_replaced_in_a_merged_index(tmp_path: Path, mark: str) -> None:
    source, again, out = tmp_path / "in", tmp_path / "again", tmp_path / "out"
    write_index_layout(source, [(small_image(), AMD64)])
    assert run("convert", source, again, "--merged-index", "--digester=sha256").exit_code == 0
    document = json.loads(named(again).raw)
    del document["annotations"]
    old = document["manifests"][1]
    if mark != "artifact type":
        del old["artifactType"]
    if mark == "feature":
        old["platform"]["os.features"] = ["nydus.remoteimage.v1"]
    rename(again, encode_json(document))
    result = run("convert", again, out, "--merged-index")
    assert result.exit_code == 0, result.output
    assert entries_of(named(out)) == [(AMD64, False), (AMD64, True)]
    assert named(out).manifests[0].digest == small_image().manifest.digest
    assert str(named(out).manifests[1].digest) != old["digest"]
    checked = run("check", again, out)
    assert checked.exit_code == 0, checked.output


def test_a_version_chooses_between_images_of_one_platform(tmp_path: Path) -> None:
    source, both = tmp_path / "in", tmp_path / "both"
    write_index_layout(source, list(zip([small_image("a"), small_image("b")], WINDOWS, strict=True)))
    assert run("convert", source, both).exit_code == 0
    names = "windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64"
    unpack = ("unpack", f"oci:{both}:test", str(tmp_path / "files"), "--platform")
    result = CliRunner().invoke(main, [*unpack, "windows/amd64"])
    assert result.exit_code == 1
    assert f"choose one by --platform out of {names[0]}, {names[1]}" in result.output
    result = run("convert", source, tmp_path / "x", "--platform", "windows(10.0.1)/amd64")
    assert f"no image for windows(10.0.1)/amd64, only for {names[0]}, {names[1]}" in result.output
    for number, name in enumerate(names):
        out = tmp_path / f"out{number}"
        result = run("convert", source, out, "--platform", name)
        assert result.exit_code == 0, result.output
        assert result.output == f"{named(both).manifests[number].digest}\n"
        assert CliRunner().invoke(main, [*unpack[:2], f"{out}-files", "--platform", name]).exit_code == 0


def test_images_of_one_platform_are_named_by_digest_where_nothing_else_tells(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_index_layout(source, [(small_image("a"), AMD64), (small_image("b"), AMD64)])
    assert run("convert", source, out).exit_code == 0
    result = CliRunner().invoke(main, ["unpack", f"oci:{out}:test", str(tmp_path / "files")])
    assert result.exit_code == 1
    names = ", ".join(f"linux/amd64 ({entry.digest})" for entry in named(out).manifests)
    assert f"name one by its digest: {names}" in result.output


def test_one_image_that_is_listed_twice_needs_no_choice(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_index_layout(source, [(small_image(), AMD64), (small_image(), ARM64)])
    assert run("convert", source, out).exit_code == 0
    result = CliRunner().invoke(main, ["unpack", f"oci:{out}:test", str(tmp_path / "files")])
    assert result.exit_code == 0, result.output
