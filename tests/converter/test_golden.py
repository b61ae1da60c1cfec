"""The same image gives the same bytes, today and tomorrow, whatever surrounds the conversion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.converter.golden import GOLDEN, Digests, convert_all

REPOSITORY = Path(__file__).parent.parent.parent


def pinned() -> Digests:
    digests: Digests = json.loads(GOLDEN.read_text())
    return digests


def without_zlib(digests: Digests) -> Digests:
    """What does not depend on the system's zlib."""
    return {
        name: {key: value for key, value in found.items() if key in ("bootstrap", "blobs")}
        for name, found in digests.items()
    }


@pytest.fixture(scope="module")
def digests() -> Digests:
    return convert_all()


def test_conversions_are_as_pinned(digests: Digests) -> None:
    """A failure here is a changed format: see `tests/converter/golden.py`."""
    assert without_zlib(digests) == without_zlib(pinned())
    if digests["zlib"] == pinned()["zlib"]:
        assert digests == pinned()


@pytest.mark.parametrize(
    ("threads", "umask", "environ"),
    [
        (1, 0o022, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "1"}),
        (2, 0o000, {"TZ": "America/St_Johns", "PYTHONHASHSEED": "2", "LC_ALL": "C"}),
        (7, 0o077, {"TZ": "UTC", "PYTHONHASHSEED": "3", "PYTHONUTF8": "1"}),
    ],
)
def test_surroundings_do_not_matter(
    threads: int, umask: int, environ: Mapping[str, str], digests: Digests, tmp_path: Path
) -> None:
    """Another number of threads, time zone, locale, hash seed, umask, current and temporary directory."""
    surroundings = {**os.environ, **environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.converter.golden", f"--threads={threads}"],
        cwd=tmp_path, env=surroundings, umask=umask, capture_output=True, check=True, timeout=240,
    )  # fmt: skip
    assert json.loads(run.stdout) == digests
