"""The benchmark's client counts right answers only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.load import Load, WrongAnswerError, content, run
from tests.registry_hook.gateway.running import blob_path, directory_source, running, stored

SIZE = 4 << 20


@pytest.mark.parametrize("range_bytes", [64 << 10, 1 << 20])
def test_the_gateway_under_load(tmp_path: Path, range_bytes: int) -> None:
    root, [digest] = stored(tmp_path, content(SIZE))
    with running([directory_source(root)]) as url:
        outcome = run(Load(url + blob_path(digest), SIZE, range_bytes, 4, 0.3))
    assert outcome.requests > 20
    assert outcome.bytes_per_s == pytest.approx(outcome.requests_per_s * range_bytes)
    assert 0 < outcome.median_ms <= outcome.p99_ms < 300


def test_bytes_from_elsewhere_are_noticed(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, bytes(SIZE))
    with running([directory_source(root)]) as url, pytest.raises(WrongAnswerError, match="got bytes from 0"):
        run(Load(url + blob_path(digest), SIZE, 64 << 10, 4, 5))


def test_a_refusal_is_noticed(tmp_path: Path) -> None:
    root, [digest] = stored(tmp_path, content(SIZE))
    with running([directory_source(root)]) as url, pytest.raises(WrongAnswerError, match="404"):
        run(Load(url + blob_path(digest) + "x", SIZE, 64 << 10, 4, 5))
