"""Draws the measured times and the model's curves, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.p2p.model import Curve
from tests.benchmarks.p2p.page import MODEL_NODES, NAMES
from tests.benchmarks.p2p.results import Cell, Mode

_COLOURS: Final = {
    Mode.NATIVE: "#c0392b",
    Mode.MIRROR: "#7f8c8d",
    Mode.PEER: "#1f6fb4",
    Mode.BYTES: "#e59866",
    Mode.LAZY: "#1e8449",
}
_MARKS: Final = {Mode.NATIVE: "s", Mode.MIRROR: "x", Mode.PEER: "o", Mode.BYTES: "v", Mode.LAZY: "D"}


def draw(measured: Mapping[tuple[Mode, int], Cell], curves: Mapping[Mode, Curve], path: Path) -> None:
    """Draws two panels: what was measured, and the model.

    Args:
        measured: the cells of the table.
        curves: of the model, by mode.
        path: the SVG file.
    """
    # Equal rows give an equal file: no date, and ids that do not change.
    with mpl.rc_context({"svg.hashsalt": "dragonhook", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _measured(left, measured)
        _model(right, measured, curves)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _measured(axes: Axes, measured: Mapping[tuple[Mode, int], Cell]) -> None:
    axes.set_title("Measured: average, and up to the slowest node")
    for mode in Mode:
        found = _of(measured, mode)
        if not found:
            continue
        nodes, average = [cell.nodes for cell in found], [cell.average_s for cell in found]
        above = [cell.slowest_s - cell.average_s for cell in found]
        axes.errorbar(
            nodes, average, yerr=numpy.array([numpy.zeros(len(above)), above]), label=NAMES[mode],
            color=_COLOURS[mode], marker=_MARKS[mode], markersize=4, linewidth=1.2, capsize=2,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    _name(axes)


def _model(axes: Axes, measured: Mapping[tuple[Mode, int], Cell], curves: Mapping[Mode, Curve]) -> None:
    axes.set_title("A model, fitted to the measured averages (marks)")
    most = max(nodes for _, nodes in measured)
    nodes = numpy.geomspace(MODEL_NODES[0], MODEL_NODES[-1], 100)
    for mode, curve in curves.items():
        axes.plot(
            nodes, [curve.seconds(count) for count in nodes],
            linestyle="--", linewidth=1.2, color=_COLOURS[mode], label=NAMES[mode],
        )  # fmt: skip
        found = _of(measured, mode)
        axes.plot(
            [cell.nodes for cell in found], [cell.average_s for cell in found],
            linestyle="", marker=_MARKS[mode], markersize=4, color=_COLOURS[mode],
        )  # fmt: skip
    axes.axvspan(most, MODEL_NODES[-1], color="#f2f2f2", zorder=0)
    axes.text(most * 1.2, axes.get_ylim()[1] * 0.6, "calculated,\nnot measured", va="top", color="#555555")
    axes.set_yscale("log")
    _name(axes)


def _name(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("nodes, all at once")
    axes.set_ylabel("seconds")
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.legend(fontsize=8, frameon=False)


def _of(measured: Mapping[tuple[Mode, int], Cell], mode: Mode) -> Sequence[Cell]:
    return sorted((cell for (of, _), cell in measured.items() if of is mode), key=lambda cell: cell.nodes)
