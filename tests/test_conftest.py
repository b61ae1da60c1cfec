"""A missing program or right: a skip on a developer's machine, a failure in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEST = """
import pytest
from tests.peers.programs import find_program

@pytest.fixture
def cosign():
    return find_program("cosign")

def test_fixture(cosign): pass
def test_call(): find_program("cosign")
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped"), ("true", "1 failed, 1 error")])
def test_a_missing_program(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environ = {**os.environ, "CI": ci, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rsfE", *options, "test_it.py"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome in run.stdout.splitlines()[-1]
    assert "run `make peers-go`" in run.stdout
