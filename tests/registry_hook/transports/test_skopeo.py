"""skopeo and umoci read what we write, and we read what skopeo writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from converter.oci import ImageManifest
from registry_hook.registry import RegistryClient, RegistryEndpoint
from registry_hook.transports import open_sink, open_source
from tests.peers.programs import run_program
from tests.peers.registries import Registry, RegistryKind
from tests.registry_hook.transports.images import check, image, write

pytestmark = pytest.mark.peers

StartRegistry = Callable[..., Registry]
INSECURE = ("--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture
def registry(start_registry: StartRegistry) -> Registry:
    return start_registry(RegistryKind.V2)


def client_for(host: str) -> RegistryClient:
    return RegistryClient(RegistryEndpoint(f"http://{host}"))


@pytest.fixture
def places(tmp_path: Path, registry: Registry) -> list[str]:
    return [
        f"oci:{tmp_path}/layout:team/app:v1.0",
        f"oci:{tmp_path}/only",
        f"oci-archive:{tmp_path}/image.tar:v1",
        f"oci-archive:{tmp_path}/only.tar",
        f"docker://{registry.host}/team/app:v1",
        f"docker://{registry.host}/team/app",
    ]


def test_skopeo_reads_what_we_write(places: list[str], tmp_path: Path) -> None:
    for number, place in enumerate(places):
        with open_sink(place, client_for) as sink:
            write(sink, image(str(number)))
        target = f"oci:{tmp_path}/copy:c{number}"
        run_program("skopeo", *INSECURE, "--preserve-digests", place, target)
        with open_source(target, client_for) as source:
            check(source, image(str(number)))


def test_we_read_what_skopeo_writes(places: list[str], tmp_path: Path) -> None:
    for number, place in enumerate(places):
        original = f"oci:{tmp_path}/original:o{number}"
        with open_sink(original, client_for) as sink:
            write(sink, image(str(number)))
        run_program("skopeo", *INSECURE, "--preserve-digests", original, place)
        with open_source(place, client_for) as source:
            check(source, image(str(number)))


def test_both_write_into_one_layout(tmp_path: Path) -> None:
    layout = f"oci:{tmp_path}/layout"
    with open_sink(f"{layout}:ours", client_for) as sink:
        write(sink, image("ours"))
    run_program("skopeo", *INSECURE, f"{layout}:ours", f"{layout}:theirs")
    with open_sink(f"{layout}:second", client_for) as sink:
        write(sink, image("second"))
    for name in ("ours", "theirs", "second"):
        with open_source(f"{layout}:{name}", client_for) as source:
            assert isinstance(source.manifest(), ImageManifest)
        run_program("skopeo", "inspect", "--raw", f"{layout}:{name}")
    listed = run_program("umoci", "ls", "--layout", f"{tmp_path}/layout").split()
    assert sorted(listed) == ["ours", "second", "theirs"]
