from __future__ import annotations

from pathlib import Path

import pytest

from tests.p2p_seed.store.backends import Backend, DirectoryBackend, S3Backend, new_bucket
from tests.peers.s3 import S3Server


@pytest.fixture
def s3_backend(s3_server: S3Server) -> S3Backend:
    return S3Backend(s3_server, new_bucket(s3_server))


@pytest.fixture
def directory_backend(tmp_path: Path) -> DirectoryBackend:
    root = tmp_path / "store"
    root.mkdir()
    return DirectoryBackend(root)


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.peers)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every kind of store; a test that asks for this is part of the contract."""
    found: Backend = request.getfixturevalue(f"{request.param}_backend")
    return found
