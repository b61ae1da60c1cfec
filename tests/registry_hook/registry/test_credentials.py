import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from registry_hook.registry import (
    Credential,
    CredentialsError,
    DockerConfigCredentials,
    FixedCredentials,
    NoCredentials,
)

HOST = "registry.test:5000"
HELPER = """#!/bin/sh
[ "$1" = get ] || exit 2
read -r server
echo "$server" >> "$0.asked"
[ -f "$0.$server" ] || { echo "credentials not found in native keychain"; exit 1; }
cat "$0.$server"
"""


def write_config(directory: Path, document: Any) -> Path:
    path = directory / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper named `test`, which knows the hosts that have a file."""
    path = tmp_path / "bin" / "docker-credential-test"
    path.parent.mkdir()
    path.write_text(HELPER)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def teach(helper: Path, username: str, secret: str) -> None:
    answer = {"ServerURL": HOST, "Username": username, "Secret": secret}
    helper.with_name(f"{helper.name}.{HOST}").write_text(json.dumps(answer))


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/"])
def test_inline_auth(tmp_path: Path, key: str) -> None:
    path = write_config(tmp_path, {"auths": {key: auth("user:pass:word")}})
    assert DockerConfigCredentials(path).credential(HOST) == Credential("user", "pass:word")
    assert DockerConfigCredentials(path).credential("other.test") is None


def test_an_identity_token(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"auths": {HOST: {"identitytoken": "refresh"}}})
    assert DockerConfigCredentials(path).credential(HOST) == Credential("", "refresh", is_identity_token=True)


@pytest.mark.parametrize(
    "document", [{}, {"HttpHeaders": {"a": "b"}}, {"auths": {}}, {"auths": {HOST: {}}}, {"credHelpers": {}}]
)
def test_a_config_without_the_host_means_anonymous(
    tmp_path: Path, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The docker package must not go looking for a config of the user instead.
    home = tmp_path / "home" / ".docker"
    home.mkdir(parents=True)
    write_config(home, {"auths": {HOST: auth("wrong:wrong")}})
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("DOCKER_CONFIG", str(home))
    assert DockerConfigCredentials(write_config(tmp_path, document)).credential(HOST) is None


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {HOST: "test"}}])
def test_credential_helpers(tmp_path: Path, helper: Path, document: Any) -> None:
    teach(helper, "user", "secret")
    source = DockerConfigCredentials(write_config(tmp_path, document))
    assert source.credential(HOST) == Credential("user", "secret")
    teach(helper, "<token>", "refresh")
    assert source.credential(HOST, fresh=True) == Credential("", "refresh", is_identity_token=True)


def test_a_helper_without_the_host_leaves_it_to_the_file(tmp_path: Path, helper: Path) -> None:
    path = write_config(tmp_path, {"credsStore": "test", "auths": {HOST: auth("user:inline")}})
    assert DockerConfigCredentials(path).credential(HOST) == Credential("user", "inline")


def test_helpers_are_not_started_for_every_request(tmp_path: Path, helper: Path) -> None:
    teach(helper, "user", "one")
    now = [0.0]
    path = write_config(tmp_path, {"credsStore": "test"})
    source = DockerConfigCredentials(path, max_age_s=10, clock=lambda: now[0])
    asked = helper.with_name(f"{helper.name}.asked")
    for _ in range(5):
        source.credential(HOST)
    assert len(asked.read_text().splitlines()) == 1
    teach(helper, "user", "two")
    assert source.credential(HOST) == Credential("user", "one")
    now[0] = 10
    assert source.credential(HOST) == Credential("user", "two")
    teach(helper, "user", "three")
    assert source.credential(HOST, fresh=True) == Credential("user", "three")


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '{"auths": {"registry.test:5000": {"auth": "%%%"}}}',
        '{"auths": {"registry.test:5000": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"registry.test:5000": "text"}}',
        '{"credsStore": "there-is-no-such-helper"}',
    ],
)
@pytest.mark.filterwarnings("ignore:docker-credential:UserWarning")
def test_an_unusable_config_is_an_error_and_not_anonymous(tmp_path: Path, document: str) -> None:
    path = write_config(tmp_path, document)
    with pytest.raises(CredentialsError, match=str(path)):
        DockerConfigCredentials(path).credential(HOST)


def test_a_missing_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="absent"):
        DockerConfigCredentials(tmp_path / "absent").credential(HOST)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Credential("user", "hush"))


def test_the_other_sources() -> None:
    assert NoCredentials().credential(HOST) is None
    fixed = FixedCredentials({HOST: Credential("a", "b")})
    assert fixed.credential(HOST) == Credential("a", "b")
    assert fixed.credential("registry.test") is None
