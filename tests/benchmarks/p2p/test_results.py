"""Rows survive their files, and runs of one row are put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.p2p.plan import BYTES_MOST_NODES, fitting, plan
from tests.benchmarks.p2p.results import Mode, Row, Traffic, cells, load, load_all, row_path, save

IMAGE_BYTES = 100_000_000


def row(
    mode: Mode = Mode.NATIVE, nodes: int = 2, run: int = 1, seconds: tuple[float, ...] = (4.0, 6.0)
) -> Row:
    return Row(
        mode=mode, nodes=nodes, run=run, rate_bit_s=50_000_000, image="an image", image_bytes=IMAGE_BYTES,
        seconds=seconds, received_bytes=(IMAGE_BYTES,) * nodes,
        seeding=Traffic(IMAGE_BYTES, 30, 105_000_000), pulling=Traffic(6, 6, 20_000 * nodes),
        processor=0.5, started="2026-01-01T00:00:00+00:00", settings={"candidate_parents": 1},
    )  # fmt: skip


def test_a_row_survives_its_file(tmp_path: Path) -> None:
    path = save(tmp_path / "new", row())
    assert path == row_path(tmp_path / "new", Mode.NATIVE, 2, 1)
    assert load(path) == row()


def test_a_file_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "native-002-1.json"
    for text in ("", "[]", "{}", '{"mode": "flying"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="native-002-1"):
            load(path)


def test_rows_are_in_the_order_of_the_modes(tmp_path: Path) -> None:
    for mode, nodes in ((Mode.LAZY, 1), (Mode.NATIVE, 16), (Mode.NATIVE, 2)):
        save(tmp_path, row(mode, nodes, seconds=(1.0,) * nodes))
    assert [(found.mode, found.nodes) for found in load_all(tmp_path)] == [
        (Mode.NATIVE, 2), (Mode.NATIVE, 16), (Mode.LAZY, 1),
    ]  # fmt: skip


def test_the_slowest_and_the_average_are_medians_over_the_runs() -> None:
    seconds = ((4.0, 6.0), (5.0, 7.0), (10.0, 30.0))
    [cell] = cells(row(run=number, seconds=pair) for number, pair in enumerate(seconds, 1)).values()
    assert (cell.average_s, cell.slowest_s, cell.runs) == (6.0, 7.0, 3)
    assert cell.origin_images == pytest.approx(1, abs=1e-6)
    assert cell.origin_requests == 36


def test_a_plan_leaves_out_what_is_there_and_what_does_not_fit(tmp_path: Path) -> None:
    save(tmp_path, row())
    steps = plan([Mode.NATIVE, Mode.BYTES], [4, 2, 32], 1, 50_000_000, IMAGE_BYTES, tmp_path)
    assert [(step.mode, step.nodes) for step in steps] == [
        (Mode.BYTES, 2), (Mode.NATIVE, 4), (Mode.BYTES, 4), (Mode.NATIVE, 32),
    ]  # fmt: skip
    assert BYTES_MOST_NODES < 32
    native = steps[-1]
    assert 32 * 16 < native.expected_s < 32 * 20, "16 s for each node, and some set-up"
    assert fitting([native], native.expected_s - 1) is None
    assert fitting([native, steps[0]], native.expected_s - 1) is steps[0]
