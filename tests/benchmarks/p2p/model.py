"""A small model of the measured times, to draw them for more nodes than fit on one machine.

With `G` for what a link really carries (bytes a second):

* *From one place* (native, or one gateway that sends all bytes): everything goes through one link, so
  `t(N) = a + N · c`.
* *Among peers*: a node waits for the whole image to come over its own link, and for the pieces to have
  reached the peers before it, whose number grows with the logarithm of N; and the origin's link still carries
  a few kilobytes for each node (manifest, redirects, a probe for each blob):
  `t(N) = a + b · log2(N) + N · k / G`.

`a`, `b`, `c` are fitted by least squares to the average times that were measured, with relative errors, so
that short times count as much as long ones; `k` and `G` are not fitted but measured. What the model leaves
out: the scheduler as a bottleneck, nodes that start at different times, links and racks that differ,
failures. So it says how the measured effects go on, not what thousands of nodes would really do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Final, Protocol

import numpy

from tests.benchmarks.p2p.results import Cell, Mode

FROM_ONE_PLACE: Final = (Mode.NATIVE, Mode.BYTES)


class Curve(Protocol):
    """A time that depends on the number of nodes."""

    def seconds(self, nodes: float) -> float:
        """The average time, in seconds."""
        ...

    def formula(self) -> str:
        """The formula with its numbers, for people."""
        ...


@dataclass(frozen=True, slots=True)
class OneLink:
    """Everything goes through one link.

    Args:
        fixed_s: what does not depend on the number of nodes.
        node_s: for each node.
    """

    fixed_s: float
    node_s: float

    def seconds(self, nodes: float) -> float:
        """See `Curve.seconds`."""
        return self.fixed_s + self.node_s * nodes

    def formula(self) -> str:
        """See `Curve.formula`."""
        return f"t = {self.fixed_s:.1f} s + {self.node_s:.2f} s · N"


@dataclass(frozen=True, slots=True)
class Peers:
    """The nodes pass the image on.

    Args:
        fixed_s: for one node.
        doubling_s: for each doubling of the number of nodes.
        node_s: for each node: what the origin's link still carries for it.
    """

    fixed_s: float
    doubling_s: float
    node_s: float

    def seconds(self, nodes: float) -> float:
        """See `Curve.seconds`."""
        return self.fixed_s + self.doubling_s * log2(nodes) + self.node_s * nodes

    def formula(self) -> str:
        """See `Curve.formula`."""
        return (
            f"t = {self.fixed_s:.1f} s + {self.doubling_s:.2f} s · log2 N + {1000 * self.node_s:.2f} ms · N"
        )


def fit(cells: Sequence[Cell], goodput_byte_s: float) -> Curve:
    """Fits the curve of one mode.

    Args:
        cells: of one mode, at least two numbers of nodes.
        goodput_byte_s: what a link carries, in bytes of blobs a second.

    Raises:
        ValueError: cells of several modes, or of one number of nodes only.
    """
    modes = {cell.mode for cell in cells}
    if len(modes) != 1 or len({cell.nodes for cell in cells}) < 2:
        raise ValueError("a curve needs one mode, measured with at least two numbers of nodes")
    nodes = numpy.array([cell.nodes for cell in cells], dtype=float)
    times = numpy.array([cell.average_s for cell in cells])
    if modes <= set(FROM_ONE_PLACE):
        fixed, slope = _least_squares(nodes, times)
        return OneLink(fixed, slope)
    node_s = _origin_bytes_for_each_node(cells) / goodput_byte_s
    fixed, slope = _least_squares(numpy.log2(nodes), times - node_s * nodes)
    return Peers(fixed, slope, node_s)


def goodput_byte_s(native: Sequence[Cell], image_bytes: int) -> float:
    """What a link really carries, from how much longer each further node makes a native pull take.

    Args:
        native: the cells of `Mode.NATIVE`.
        image_bytes: length of the image.
    """
    curve = fit(native, 1.0)
    assert isinstance(curve, OneLink)
    return image_bytes / curve.node_s


def largest_error(curve: Curve, cells: Sequence[Cell]) -> float:
    """The largest deviation of a curve from what was measured, as a share of the latter."""
    return max(abs(curve.seconds(cell.nodes) / cell.average_s - 1) for cell in cells)


def held_out_error(cells: Sequence[Cell], goodput: float) -> float | None:
    """How far a curve fitted without the largest number of nodes is off there, as a share; the model's test.

    Returns:
        A signed share, or None if too little was measured.
    """
    *rest, largest = sorted(cells, key=lambda cell: cell.nodes)
    if len(rest) < 3:
        return None
    return fit(rest, goodput).seconds(largest.nodes) / largest.average_s - 1


def _least_squares(
    x: numpy.typing.NDArray[numpy.float64], y: numpy.typing.NDArray[numpy.float64]
) -> tuple[float, float]:
    """Constant and slope with the smallest sum of squared relative errors; neither is negative."""
    weights = 1 / numpy.maximum(y, 1e-9)
    matrix = numpy.stack([numpy.ones_like(x), x], axis=1) * weights[:, None]
    (constant, slope), *_ = numpy.linalg.lstsq(matrix, y * weights, rcond=None)
    if constant < 0:
        return 0.0, float((x * y * weights**2).sum() / (x * x * weights**2).sum())
    if slope < 0:
        return float((y * weights**2).sum() / (weights**2).sum()), 0.0
    return float(constant), float(slope)


def _origin_bytes_for_each_node(cells: Sequence[Cell]) -> float:
    """How much more the origin's link sends for each further node, by the smallest and the largest cell."""
    first, *_, last = sorted(cells, key=lambda cell: cell.nodes)
    return max(0.0, (last.origin_link_bytes - first.origin_link_bytes) / (last.nodes - first.nodes))
