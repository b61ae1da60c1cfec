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
    raw = encode_json(document)
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
