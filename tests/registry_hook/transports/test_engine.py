"""Images of a container engine: podman's service, which speaks Docker's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import docker
from converter.oci import Digest, ImageManifest, media_types, parse_manifest
from registry_hook.cli import main
from registry_hook.registry import RegistryClient
from registry_hook.transports import EngineError, NoSuchImageError, open_source
from registry_hook.transports.docker_archive import DockerArchiveSource
from registry_hook.transports.members import TarMembers
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file
from tests.peers.engine import podman_service
from tests.peers.programs import run_program

NAME = "localhost/team/app:v1"


def client_for(host: str) -> RegistryClient:
    raise AssertionError(f"nobody asked for {host}")


def app() -> Image:
    """Three layers, two of them equal."""
    first = encode_tar([directory("etc", 0o755), file("etc/motd", b"hello")])
    return build_image([first, encode_tar([file("etc/issue", b"world" * 1000)]), first])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("podman")
    with podman_service(place) as host:
        app().write_archive(place / "app.tar", NAME)
        client = docker.DockerClient(base_url=host)
        with (place / "app.tar").open("rb") as archive:
            client.images.load(archive)
        client.close()
        yield host


@pytest.fixture
def docker_host(engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DOCKER_HOST", engine)
    return engine


@pytest.mark.peers
@pytest.mark.root
@pytest.mark.usefixtures("docker_host")
class TestPodman:
    def test_an_image_has_its_config_and_its_layers(self) -> None:
        expected = app()
        with open_source(f"docker-daemon:{NAME}", client_for) as source:
            manifest = source.manifest()
            assert isinstance(manifest, ImageManifest)
            assert manifest.media_type == media_types.DOCKER_MANIFEST
            assert source.read_blob(manifest.config) == expected.config
            diff_ids = json.loads(expected.config)["rootfs"]["diff_ids"]
            assert [str(layer.digest) for layer in manifest.layers] == diff_ids
            assert not source.has_manifests
            for layer in manifest.layers:
                with source.open_blob(layer) as stream:
                    assert Digest.of(stream.read()) == layer.digest

    def test_an_image_can_be_named_by_its_id(self) -> None:
        with open_source(f"docker-daemon:{app().manifest.config.digest}", client_for) as source:
            manifest = source.manifest()
            assert isinstance(manifest, ImageManifest)
            assert manifest.config.digest == app().manifest.config.digest

    def test_it_converts_to_what_the_same_image_elsewhere_does(self, tmp_path: Path) -> None:
        app().write_layout(tmp_path / "in")
        for number, source in enumerate((f"docker-daemon:{NAME}", f"oci:{tmp_path}/in:test")):
            result = CliRunner().invoke(main, ["convert", source, f"oci:{tmp_path}/out{number}:v1"])
            assert result.exit_code == 0, result.output
        made, other = (converted(tmp_path / f"out{number}") for number in (0, 1))
        assert made.layers == other.layers
        assert made.config == other.config
        assert (made.subject, other.subject is not None) == (None, True)

    def test_an_image_that_is_not_there_is_named(self) -> None:
        with (
            pytest.raises(NoSuchImageError, match="no image localhost/team/other:latest"),
            open_source("docker-daemon:localhost/team/other", client_for),
        ):
            pass

    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        with open_source(f"docker-daemon:{NAME}", client_for, tmp_path):
            assert list(tmp_path.iterdir())
        assert not list(tmp_path.iterdir())


def converted(layout: Path) -> ImageManifest:
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    manifest = parse_manifest((layout / "blobs/sha256" / Digest.parse(entry["digest"]).hex).read_bytes())
    assert isinstance(manifest, ImageManifest)
    return manifest


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "nonsense"),
    ],
)
def test_an_engine_that_is_not_there_is_told(host: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EngineError) as told, open_source("docker-daemon:x", client_for):
        pass
    message = str(told.value)
    start = (
        "no container engine answers where DOCKER_HOST says, or at /var/run/docker.sock if it is not set: "
    )
    assert message.startswith(start)
    assert reason in message.removeprefix(start)
    assert len(message) < 200


@pytest.mark.peers
def test_skopeos_docker_archive_is_read(tmp_path: Path) -> None:
    """The same form, written by another program."""
    app().write_layout(tmp_path / "in")
    archive = tmp_path / "app.tar"
    run_program(
        "skopeo", "--insecure-policy", "copy", f"oci:{tmp_path}/in:test", f"docker-archive:{archive}:a:b"
    )
    source = DockerArchiveSource(TarMembers(archive, follow_links=True))
    manifest = source.manifest()
    assert isinstance(manifest, ImageManifest)
    assert [str(layer.digest) for layer in manifest.layers] == json.loads(app().config)["rootfs"]["diff_ids"]
