"""`dragonhook convert`: the form of the output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.blob import BlobReader
from converter.classify import Kind, classify
from converter.oci import ImageIndex, ImageManifest, media_types, parse_manifest
from converter.rafs.layout import Digester
from converter.rafs.reader import read_bootstrap
from registry_hook.cli import main
from tests.images.layout import build_image, write_index_layout
from tests.images.tar import encode_tar, file
from tests.peers.programs import ProgramError, run_program
from tests.peers.registries import Registry, RegistryKind
from tests.registry_hook.transports.test_skopeo import INSECURE
from tests.registry_hook.world import small_image


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["convert", *arguments])


def manifest(layout: Path) -> ImageManifest:
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    found = parse_manifest((layout / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())
    assert isinstance(found, ImageManifest)
    return found


def test_every_choice_arrives(tmp_path: Path) -> None:
    small_image("text" * 5000).write_layout(tmp_path / "in", "v1")
    (tmp_path / "trace").write_text("/nothing\n/etc\n")
    result = run(
        f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--compressor=lz4_block", "--chunk-size=4096",
        "--digester=sha256", "--prefetch=/etc/motd", f"--prefetch-trace={tmp_path}/trace",
        "--media-types=docker",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = manifest(tmp_path / "out")
    assert made.media_type == media_types.DOCKER_MANIFEST
    with (tmp_path / "out/blobs/sha256" / made.layers[0].digest.hex).open("rb") as file:
        bootstrap = read_bootstrap(BlobReader(file).bootstrap())
    assert (bootstrap.digester, bootstrap.chunk_size) == (Digester.SHA256, 4096)
    assert bootstrap.blobs[0].compressor == 1
    assert bootstrap.prefetch == (b"/etc/motd", b"/etc")


def test_references_bring_the_source_along(tmp_path: Path) -> None:
    layers = [encode_tar([file("a", b"a" * 10_000)]), encode_tar([file("b", b"b" * 10_000)])]
    source = build_image(layers, ["gzip", "zstd"])
    source.write_layout(tmp_path / "in", "v1")
    result = run(f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--oci-ref")
    assert result.exit_code == 0, result.output
    made = manifest(tmp_path / "out")
    referred, copied = source.manifest.layers
    assert [layer.annotations.get(media_types.ANNOTATION_NYDUS_REF) for layer in made.layers] == [
        str(referred.digest), None, None,
    ]  # fmt: skip
    assert f"converted, not referred to: {copied.digest}: it is compressed with zstd" in result.stderr
    blobs = tmp_path / "out/blobs/sha256"
    assert (blobs / source.manifest.digest.hex).read_bytes() == source.manifest.raw
    assert (blobs / referred.digest.hex).read_bytes() == source.blobs[referred.digest]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--kernel-mountable", "--compressor=lz4_block"), "excludes --compressor lz4_block"),
        (("--chunk-size=5000",), "power of two"),
        (("--prefetch=usr",), "must be absolute"),
        (("--prefetch-trace=trace",), "line 1 of the trace"),
        (("--prefetch-trace=empty",), "the trace names no path"),
        (("--prefetch=/etc", "--prefetch-trace=empty"), "the trace names no path"),
        (("--media-types=acme",), "'oci', 'docker'"),
        (("--oci-ref", "--digester=blake3"), "--oci-ref excludes --digester blake3"),
        (("--oci-ref", "--fs-version=5"), "--oci-ref excludes --fs-version 5"),
        (("--share-layers", "--fs-version=5"), "--share-layers excludes --fs-version 5"),
        (("--share-layers", "--oci-ref"), "--share-layers excludes --oci-ref"),
        (("--kernel-mountable", "--fs-version=5"), "--kernel-mountable excludes --fs-version 5"),
        (("--max-borrowed=16",), "--max-borrowed is about --chunk-dict"),
        (("--one-file", "--compressor=zstd"), "--one-file excludes --compressor:"),
        (("--one-file", "--fs-version=6", "--digester=blake3"), "excludes --fs-version, --digester:"),
        (("--one-file", "--merged-index", "--chunk-dict=oci:x"), "excludes --chunk-dict, --merged-index:"),
        (("--oci-ref", "--chunk-size=8388608"), "at most 4194304"),
        (("--oci-ref", "--kernel-mountable"), "--oci-ref excludes --kernel-mountable"),
        (("--oci-ref", "--chunk-dict=oci:other"), "excludes --chunk-dict"),
    ],
)
def test_choices_that_cannot_be(
    option: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trace").write_text("no path\n")
    Path("empty").write_text("# nothing was read\n")
    result = run("oci:in:v1", "oci:out:v1", *option)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.peers
@pytest.mark.parametrize("kind", list(RegistryKind))
def test_registries_take_docker_types(
    kind: RegistryKind, start_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    registry = start_registry(kind)
    small_image().write_layout(tmp_path / "in", "v1")
    place = f"docker://{registry.host}/demo/app:v1-nydus"
    result = run(f"oci:{tmp_path}/in:v1", place, "--media-types=docker", "--plain-http")
    assert result.exit_code == 0, result.output
    raw = run_program("skopeo", "inspect", "--tls-verify=false", "--raw", place)
    found = parse_manifest(raw.encode())
    assert found.media_type == media_types.DOCKER_MANIFEST
    assert str(found.digest) == result.output.strip()
    # The library under skopeo and podman reads no layer type that is not Docker's own in such a manifest. If
    # it has learnt to, docs/converted-image.md has to say so.
    with pytest.raises(ProgramError, match="unsupported docker v2s2 media type"):
        run_program("skopeo", *INSECURE, "--preserve-digests", place, f"dir:{tmp_path}/copy")


def test_a_merged_index(tmp_path: Path) -> None:
    image = small_image()
    image.write_layout(tmp_path / "in", "v1")
    result = run(f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--merged-index")
    assert result.exit_code == 0, result.output
    entry = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"][0]
    blobs = tmp_path / "out/blobs/sha256"
    index = parse_manifest((blobs / entry["digest"].removeprefix("sha256:")).read_bytes())
    assert isinstance(index, ImageIndex)
    original, converted = index.manifests
    assert (original.digest, original.artifact_type) == (image.manifest.digest, None)
    assert converted.artifact_type == "application/vnd.nydus.image.manifest.v1+json"
    assert str(original.platform) == str(converted.platform) == "linux/amd64"
    assert classify(index) is Kind.NYDUS
    for child in (original, converted):
        found = parse_manifest((blobs / child.digest.hex).read_bytes())
        assert isinstance(found, ImageManifest)
        assert all((blobs / blob.digest.hex).is_file() for blob in (found.config, *found.layers))


@pytest.mark.peers
@pytest.mark.parametrize("kind", list(RegistryKind))
def test_clients_take_the_original_of_a_merged_index(
    kind: RegistryKind, start_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    registry = start_registry(kind)
    image = small_image()
    image.write_layout(tmp_path / "in", "v1")
    place = f"docker://{registry.host}/demo/app:v1"
    result = run(f"oci:{tmp_path}/in:v1", place, "--merged-index", "--plain-http")
    assert result.exit_code == 0, result.output
    run_program("skopeo", *INSECURE, "--preserve-digests", place, f"oci:{tmp_path}/copy:v1")
    assert manifest(tmp_path / "copy").digest == image.manifest.digest
    # With all images skopeo 1.9 would write the index anew, and forget the artifact types.
    with pytest.raises(ProgramError, match="cannot modify it"):
        run_program("skopeo", *INSECURE, "--all", "--preserve-digests", place, f"oci:{tmp_path}/all:v1")


def test_a_trace_of_what_nydusd_recorded(tmp_path: Path) -> None:
    small_image().write_layout(tmp_path / "in", "v1")
    assert run(f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--fs-version=5").exit_code == 0
    pattern = tmp_path / "pattern.json"
    pattern.write_text(
        '[{"ino": 3, "nr_read": 1, "first_access_time_secs": 5, "first_access_time_nanos": 1}]'
    )
    result = CliRunner().invoke(main, ["trace", str(pattern), f"oci:{tmp_path}/out:v1"])
    assert (result.exit_code, result.output) == (0, "/etc/motd\n")
    pattern.write_text("[]")
    result = CliRunner().invoke(main, ["trace", str(pattern), f"oci:{tmp_path}/out:v1"])
    assert result.exit_code == 1
    assert "the access pattern names no file" in result.output


def test_references_need_a_registry_or_layout(tmp_path: Path) -> None:
    result = run("docker-daemon:app:v1", f"oci:{tmp_path}/out:v1", "--oci-ref")
    assert result.exit_code == 2
    assert "--oci-ref excludes docker-daemon:" in result.output


@pytest.mark.parametrize(
    "form",
    [
        ("--compressor=lz4_block", "--digester=sha256", "--chunk-size=4096"),
        ("--media-types=docker",),
        ("--chunk-size=16777216",),
    ],
)
def test_check_compares_every_other_form(form: tuple[str, ...], tmp_path: Path) -> None:
    small_image("text" * 5000).write_layout(tmp_path / "in", "v1")
    assert run(f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", *form).exit_code == 0
    result = CliRunner().invoke(main, ["check", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1"])
    assert (result.exit_code, "the same" in result.output) == (0, True), result.output


@pytest.mark.parametrize("option", ["--fs-version=6", "--one-file"])
def test_a_converted_image_is_not_converted_again(option: str, tmp_path: Path) -> None:
    image, place = small_image(), f"oci:{tmp_path}/out:v1"
    image.write_layout(tmp_path / "in", "v1")
    assert run(f"oci:{tmp_path}/in:v1", place, option).exit_code == 0
    again = run(place, f"oci:{tmp_path}/again:v1")
    assert again.exit_code == 1
    assert again.output.endswith(f" image already, made from {image.manifest.digest}: name that instead\n")
    entries = [(small_image(), {"os": "linux", "architecture": "amd64"})] * 2
    write_index_layout(tmp_path / "index", entries, "v1")
    assert run(f"oci:{tmp_path}/index:v1", f"oci:{tmp_path}/made:v1", option).exit_code == 0
    again = run(f"oci:{tmp_path}/made:v1", f"oci:{tmp_path}/again:v1")
    assert again.exit_code == 1
    assert "is an index of converted images already, made from sha256:" in again.output
