from __future__ import annotations

from pathlib import Path

import pytest

from converter.oci import Digest
from p2p_seed.errors import StoreConfigurationError
from p2p_seed.store import DirectoryStore, S3Access, open_store
from p2p_seed.store.keys import blob_key, parse_blob_key

EMPTY = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
KEY = f"docker/registry/v2/blobs/sha256/e3/{EMPTY.hex}/data"


def test_the_key_is_distributions() -> None:
    assert blob_key(EMPTY) == KEY
    assert parse_blob_key(KEY) == EMPTY


@pytest.mark.parametrize(
    "key",
    [
        "",
        f"/{KEY}",
        f"{KEY}/",
        f"prefix/{KEY}",
        KEY.replace("/e3/", "/e4/"),
        KEY.replace("sha256", "sha512"),
        KEY.upper(),
        KEY.replace("5/data", "/data"),
        KEY.replace("/data", "/link"),
        f"{KEY}\n",
    ],
)
def test_other_keys_are_no_blobs(key: str) -> None:
    assert parse_blob_key(key) is None


def test_a_directory_is_opened_and_made_only_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    assert isinstance(open_store(f"filesystem:{root}"), DirectoryStore)
    assert not root.exists()
    assert list(open_store(f"filesystem:{root}", create=True).digests()) == []
    assert root.is_dir()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreConfigurationError, match="file/store"):
        open_store(f"filesystem:{tmp_path}/file/store", create=True)


@pytest.mark.parametrize(
    "location", ["", "/var/lib", "filesystem:relative", "s3://", "s3:///prefix", "gs://b"]
)
def test_other_locations_are_refused(location: str) -> None:
    with pytest.raises(StoreConfigurationError, match=location or "''"):
        open_store(location)


@pytest.mark.parametrize(
    ("access", "problem"),
    [
        (S3Access(access_key="only one half"), "both"),
        (S3Access(secret_key="only one half"), "both"),
        (S3Access(ca_bundle=Path("/nowhere/ca.pem")), "/nowhere/ca.pem"),
        (S3Access(ca_bundle=Path(__file__)), "test_keys.py"),
        (S3Access(endpoint_url="no url"), "no url"),
    ],
)
def test_unusable_s3_settings_are_refused(access: S3Access, problem: str) -> None:
    with pytest.raises(StoreConfigurationError, match=problem):
        open_store("s3://bucket", access)


def test_secrets_are_not_shown() -> None:
    assert "hidden" not in repr(S3Access(access_key="key", secret_key="hidden"))
