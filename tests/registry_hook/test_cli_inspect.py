"""`dragonhook inspect`, on images, bootstraps and blobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from converter.bootstrap_reader import read_bootstrap_layer
from converter.oci import Digest, ImageManifest, media_types
from registry_hook.cli import clients, main
from tests.converter.sharing_images import image_of, noise
from tests.registry_hook.simulated_registry import SimulatedRegistry
from tests.registry_hook.test_cli import layout_manifest
from tests.registry_hook.world import small_image


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def inspected(*arguments: str) -> dict[str, Any]:
    result = run("inspect", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def converted(tmp_path: Path) -> ImageManifest:
    """An image in `in`, and what was made of it in `out`."""
    image_of({"a": b"same" * 100_000, "b": b"same" * 100_000, "c": noise(1, 5000)}).write_layout(
        tmp_path / "in", "v1"
    )
    assert run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1").exit_code == 0
    manifest = layout_manifest(tmp_path / "out")
    assert isinstance(manifest, ImageManifest)
    return manifest


def test_a_converted_image(converted: ImageManifest, tmp_path: Path) -> None:
    found = inspected(f"oci:{tmp_path}/out:v1")
    assert (found["kind"], found["digest"]) == ("nydus", str(converted.digest))
    assert found["source"] == converted.annotations[media_types.ANNOTATION_SOURCE_DIGEST]
    assert [(layer["role"], layer["digest"]) for layer in found["layers"]] == [
        ("data", str(converted.layers[0].digest)),
        ("bootstrap", str(converted.layers[1].digest)),
    ]
    bootstrap = found["bootstrap"]
    assert (bootstrap["rafs_version"], bootstrap["compressor"], bootstrap["digester"]) == (
        6,
        "zstd",
        "blake3",
    )
    assert bootstrap["prefetch"] == ["/"]
    assert bootstrap["sharing"]["saved_bytes"] == 400_000
    (blob,) = bootstrap["blobs"]
    assert (blob["id"], blob["is_listed"], blob["borrowed_from"]) == (
        converted.layers[0].digest.hex,
        True,
        None,
    )
    assert 0 < blob["ratio"] < 0.1
    assert found["attached"] is None
    shown = run("inspect", f"oci:{tmp_path}/out:v1").output
    assert "RAFS v6, zstd, blake3, chunks of 1048576 bytes" in shown
    assert "400000 saved" in shown


def test_files(converted: ImageManifest, tmp_path: Path) -> None:
    blobs = tmp_path / "out/blobs/sha256"
    blob = inspected(str(blobs / converted.layers[0].digest.hex))
    assert (blob["kind"], blob["blob"]["chunks"]) == ("blob", 2)
    assert blob["blob"]["bootstrap"]["names"] == 3
    boot = tmp_path / "image.boot"
    with (blobs / converted.layers[1].digest.hex).open("rb") as file:
        boot.write_bytes(read_bootstrap_layer(file).bootstrap)
    assert inspected(str(boot))["bootstrap"]["names"] == 3
    dumped = run("inspect", "--dump", str(boot)).output
    assert "0000000400       80  superblock magic=0xe0f5e1e2" in dumped


def test_a_dump_has_bootstrap_and_blobs(converted: ImageManifest, tmp_path: Path) -> None:
    dumped = run("inspect", "--dump", f"oci:{tmp_path}/out:v1").output
    heads = [line for line in dumped.splitlines() if line.startswith("#")]
    assert heads == [
        f"# {converted.digest}: bootstrap in {converted.layers[1].digest}",
        f"# {converted.digest}: {converted.layers[0].digest}",
    ]
    assert "stored chunk 1" in dumped
    assert "!!" not in dumped


def test_borrowed_blobs(converted: ImageManifest, tmp_path: Path) -> None:
    image_of({"a": b"same" * 100_000, "new": b"new"}).write_layout(tmp_path / "in2", "v2")
    dictionary = ("--chunk-dict", f"oci:{tmp_path}/out:v1")
    assert run("convert", f"oci:{tmp_path}/in2:v2", f"oci:{tmp_path}/out2:v2", *dictionary).exit_code == 0
    found = inspected(f"oci:{tmp_path}/out2:v2")
    lent = {blob["id"]: blob["borrowed_from"] for blob in found["bootstrap"]["blobs"]}
    assert lent[converted.layers[0].digest.hex] == str(converted.digest)
    assert list(lent.values()).count(None) == 1
    assert found["bootstrap"]["sharing"]["lenders"] == [
        {"image": None, "blobs": 1, "chunks": 1, "stored_bytes": 3, "bytes": 3},
        {
            "image": str(converted.digest),
            "blobs": 1,
            "chunks": 1,
            "stored_bytes": found["bootstrap"]["blobs"][0]["used_stored_size"],
            "bytes": 400_000,
        },
    ]
    told = run("inspect", f"oci:{tmp_path}/out2:v2").output
    assert "400003 bytes of content: 0 saved in it, 400000 borrowed from other images\n" in told
    assert "with no other image: 1 chunks in 1 blobs, 3 bytes for 3" in told
    assert f"with {converted.digest}: 1 chunks in 1 blobs" in told


def test_an_ordinary_image(tmp_path: Path) -> None:
    image = small_image()
    image.write_layout(tmp_path / "in", "v1")
    found = inspected(f"oci:{tmp_path}/in:v1")
    assert (found["kind"], found["bootstrap"]) == ("image", None)
    assert [layer["role"] for layer in found["layers"]] == ["layer"] * len(image.manifest.layers)
    assert run("inspect", "--dump", f"oci:{tmp_path}/in:v1").exit_code == 1


def test_what_refers_to_an_image_in_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = SimulatedRegistry()
    monkeypatch.setattr(clients, "RegistryClient", lambda *_: registry.client())
    manifest = small_image().manifest
    registry.push("app", "v1", manifest.raw, manifest.media_type)
    assert inspected("docker://r.example/app:v1")["attached"] == []
    assert "attached: nothing" in run("inspect", "docker://r.example/app:v1").output
    other = small_image("x").manifest
    registry.push("app", f"sha256-{manifest.digest.hex}.sig", other.raw, other.media_type)
    entry = {
        **other.descriptor.to_json(),
        "artifactType": media_types.SIGSTORE_BUNDLE,
        "annotations": {
            "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
            "dev.dragonhook.key-hint": "hint",
        },
    }
    conversion = {
        **other.descriptor.to_json(),
        "artifactType": media_types.OCI_CONFIG,
        "annotations": {media_types.ANNOTATION_SOURCE_DIGEST: str(manifest.digest)},
    }
    entries = [entry, conversion]
    index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}
    raw = json.dumps(index).encode()
    registry.push("app", f"sha256-{manifest.digest.hex}", raw, media_types.OCI_INDEX)
    attached = inspected("docker://r.example/app:v1")["attached"]
    assert [(one["type"], one["key_hint"]) for one in attached] == [
        ("https://sigstore.dev/cosign/sign/v1", "hint"),
        ("converted image", None),
        (media_types.COSIGN_SIMPLE_SIGNING, None),
    ]
    told = run("inspect", "docker://r.example/app:v1").output
    assert f"  attached: converted image {other.digest}\n" in told
    assert {one["digest"] for one in attached} == {str(Digest.of(other.raw))}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nothing-like-that",), 2, "is not an image name"),
        (("oci:nowhere",), 1, "nowhere"),
        (("garbage",), 1, "garbage: "),
        (("--dump", "garbage"), 1, "garbage: "),
        (("short",), 1, "short: "),
        (("--json", "--dump", "garbage"), 2, "exclude each other"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], status: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage").write_bytes(b"garbage" * 2000)
    (tmp_path / "short").write_bytes(bytes(1024) + b"\xe2\xe1\xf5\xe0")
    result = run("inspect", *arguments)
    assert result.exit_code == status, result.output
    assert message in result.output
