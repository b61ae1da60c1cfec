"""`docker/compose.yaml` names settings that exist, files that exist, and targets that the Dockerfile has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package that nothing else here needs

from registry_hook import settings

DOCKER = Path(__file__).parent.parent.parent / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", ["gateway", "service"])
def test_the_settings_are_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("token", "s3_secret"):
        (tmp_path / file).write_text("0123456789abcdef")
    (tmp_path / "database_url").write_text("postgresql://dragonhook:secret@postgres/dragonhook")
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, str(value).replace("/secrets", str(tmp_path)))
    loaded = settings.load()
    assert loaded.jobs.many_machines
    assert loaded.web.secret() == "0123456789abcdef"
    assert loaded.store.location == "s3://dragonhook"


def test_every_build_target_is_in_the_dockerfile() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    targets = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert targets == {"service", "gateway"}
    assert all(f" AS {target}\n" in dockerfile for target in targets)


def test_every_mounted_file_and_volume_exists() -> None:
    sources = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    files = {source for source in sources if source.startswith(".")}
    assert files
    assert all((DOCKER / file).is_file() for file in files)
    assert sources - files == set(COMPOSE["volumes"])


def test_the_registry_redirects_to_the_published_gateway() -> None:
    registry = yaml.safe_load((DOCKER / "registry.yaml").read_text())
    (redirect,) = registry["middleware"]["storage"]
    assert redirect["options"]["baseurl"] == "http://localhost:8089"
    assert "127.0.0.1:8089:8089" in SERVICES["gateway"]["ports"]
    (endpoint,) = registry["notifications"]["endpoints"]
    assert endpoint["url"] == "http://gateway:8088/v1/events/distribution"
    assert SERVICES["service"]["network_mode"] == "service:gateway"
