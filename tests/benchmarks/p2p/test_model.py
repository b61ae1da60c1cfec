"""The model finds the constants of times that were made from them, and says how far off it is."""

from __future__ import annotations

from dataclasses import replace
from math import log2
from pathlib import Path

import pytest

from tests.benchmarks.p2p.drawing import draw
from tests.benchmarks.p2p.model import fit, goodput_byte_s, held_out_error, largest_error
from tests.benchmarks.p2p.page import Circumstances, curves, page
from tests.benchmarks.p2p.results import Cell, Mode, Row, cells
from tests.benchmarks.p2p.test_results import IMAGE_BYTES, row

NODES = (1, 2, 4, 8, 16, 32)
CIRCUMSTANCES = Circumstances("a machine", IMAGE_BYTES, "a program")


def rows() -> list[Row]:
    found = []
    for nodes in NODES:
        found.append(row(Mode.NATIVE, nodes, seconds=(0.5 + 16.0 * nodes,) * nodes))
        found.append(row(Mode.PEER, nodes, seconds=(17 + 4 * log2(nodes),) * nodes))
    return found


def of(mode: Mode) -> list[Cell]:
    return [cell for (found, _), cell in cells(rows()).items() if found is mode]


def test_native_time_is_linear() -> None:
    curve = fit(of(Mode.NATIVE), 1.0)
    assert curve.seconds(1000) == pytest.approx(16_000.5)
    assert largest_error(curve, of(Mode.NATIVE)) < 1e-9


def test_goodput_is_what_a_further_node_costs() -> None:
    assert goodput_byte_s(of(Mode.NATIVE), IMAGE_BYTES) == pytest.approx(IMAGE_BYTES / 16)


def test_time_among_peers_is_logarithmic_but_for_the_origins_link() -> None:
    goodput = goodput_byte_s(of(Mode.NATIVE), IMAGE_BYTES)
    curve = fit(of(Mode.PEER), goodput)
    # 20 kB for each node (`row`) are 32 s at 6.25 MB/s for 10,000 nodes.
    assert curve.seconds(10_000) == pytest.approx(17 + 4 * log2(10_000) + 32, rel=0.01)
    assert largest_error(curve, of(Mode.PEER)) < 0.01
    assert held_out_error(of(Mode.PEER), goodput) == pytest.approx(0, abs=0.01)


def test_a_held_out_error_shows_what_the_model_misses() -> None:
    found = of(Mode.PEER)
    late = Cell(Mode.PEER, 64, 200.0, 210.0, 1.0, 1, 20_000 * 64, 0.5, 1.0, 1)
    assert (held_out_error([*found, late], 6_250_000) or 0) < -0.7
    assert held_out_error(found[:3], 6_250_000) is None


def test_one_number_of_nodes_makes_no_curve() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fit(of(Mode.NATIVE)[:1], 1.0)
    assert curves(cells([row(nodes=4)]), IMAGE_BYTES) == {}


def test_the_page_has_every_measured_number() -> None:
    text = page(rows(), CIRCUMSTANCES)
    assert "| 16 | 256.5 / 256.5 | 33.0 / 33.0 |" in text
    assert "| 16 | 7.77 |" in text
    assert "**Calculated, not measured.**" in text
    assert "nothing cached. Every node is a network namespace whose link carries\n50 Mbit/s" in text
    assert all(mark not in text for mark in "{}")


def test_rows_of_different_links_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="several rates"):
        page([row(), replace(row(nodes=4), rate_bit_s=1)], CIRCUMSTANCES)


def test_the_drawing_is_the_same_for_the_same_rows(tmp_path: Path) -> None:
    measured = cells(rows())
    for name in ("a.svg", "b.svg"):
        draw(measured, curves(measured, IMAGE_BYTES), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "calculated" in (tmp_path / "a.svg").read_text()
