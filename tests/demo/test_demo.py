"""The demo shows what it promises, ends by itself, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.peers.pins import cache_directory
from tests.peers.programs import is_installed

pytestmark = [pytest.mark.peers, pytest.mark.root, pytest.mark.timeout(600)]
ROOT = Path(__file__).parent.parent.parent


def run_demo(temporary: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", **environ},
    )  # fmt: skip


def processes_below(directory: Path) -> list[int]:
    """Processes whose command line names a file of `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # It has ended meanwhile.
    return found


def test_shows_everything_and_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    demo = run_demo(temporary)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for expected in (
        r"publication +done",
        r"layer .* MB → blob .* MB, \d+ chunks",
        r"dragonhook verify 127\.0\.0\.1:\d+/demo/analytics:demo-nydus --key",
        r"→ 307 http://127\.0\.0\.1:\d+/docker/registry/v2/blobs/sha256/",
        r"byte for byte",
        r"numpy \S+ pandas \S+ sum 499999500000",
        "by nydusd" if is_installed("nydusd") else "by the kernel",
        r"\d+\.\d s  in all",
    ):
        assert re.search(expected, demo.stdout), f"{expected} is not in\n{demo.stdout}"
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


def test_without_nydusd_the_kernel_mounts(tmp_path: Path) -> None:
    """On a machine that has only Debian's programs, with the image that is cached already."""
    cache = tmp_path / "cache" / "dragonhook"
    cache.mkdir(parents=True)
    (cache / "demo").symlink_to(cache_directory() / "demo")
    demo = run_demo(tmp_path / "temporary", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert re.search(r"mounted by Linux \S+ itself", demo.stdout)
    assert "sum 499999500000" in demo.stdout


def test_keep_leaves_it_up_and_says_how_to_stop(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    demo = run_demo(temporary, KEEP="1")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    kill, remove = (line.strip() for line in demo.stdout.splitlines()[-2:])
    try:
        assert re.fullmatch(r"kill \d+ \d+", kill)
        assert remove == f"rm -r {next(temporary.iterdir())}"
        assert len(processes_below(temporary)) >= 2
        (service,) = re.findall(r"service +(http://\S+)", demo.stdout)
        assert httpx.get(service).json()["jobs"]
    finally:
        subprocess.run(["sh", "-c", kill], check=True)
    deadline = time.monotonic() + 30
    while processes_below(temporary) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_below(temporary) == []
