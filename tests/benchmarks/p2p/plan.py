"""Which rows there are, how long each will take, and which of them still fit into a slice of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Final

from tests.benchmarks.p2p.results import Mode, row_path

# Of a link's rate, what is left for content behind the headers of Ethernet, IP and TCP.
_CONTENT_SHARE: Final = 0.95
# Network, servers, seeding over links without limit, and the end of everything.
_SET_UP_S: Final = 12.0
_SET_UP_NODE_S: Final = 0.6
# One gateway that sends all bytes takes as long as native pulls do. That is the point of measuring it, and is
# shown by fewer nodes too.
BYTES_MOST_NODES: Final = 16


@dataclass(frozen=True, slots=True)
class Step:
    """One row to measure.

    Args:
        expected_s: rough length, set-up included.
    """

    mode: Mode
    nodes: int
    run: int
    expected_s: float


def expected_s(mode: Mode, nodes: int, rate_bit_s: int, image_bytes: int) -> float:
    """How long a row will take, roughly, set-up included."""
    alone_s = image_bytes * 8 / (rate_bit_s * _CONTENT_SHARE)
    if mode in (Mode.NATIVE, Mode.BYTES):
        pull_s = alone_s * nodes
    elif mode is Mode.LAZY:
        pull_s = 5 + alone_s * 0.7 * (1 + log2(nodes)) + nodes
    else:
        pull_s = alone_s * (1 + log2(nodes))
    return _SET_UP_S + _SET_UP_NODE_S * nodes + pull_s


def plan(
    modes: Sequence[Mode], nodes: Sequence[int], runs: int, rate_bit_s: int, image_bytes: int, results: Path
) -> list[Step]:
    """The rows that are not measured yet, few nodes first, so that a table is there early.

    Args:
        modes: which modes.
        nodes: which numbers of nodes.
        runs: how often each row is measured.
        rate_bit_s: rate of the links.
        image_bytes: length of the image.
        results: directory of the rows that are measured.
    """
    return [
        Step(mode, count, run, expected_s(mode, count, rate_bit_s, image_bytes))
        for run in range(1, runs + 1)
        for count in sorted(nodes)
        for mode in modes
        if not (mode is Mode.BYTES and count > BYTES_MOST_NODES)
        if not row_path(results, mode, count, run).exists()
    ]


def fitting(steps: Iterable[Step], left_s: float) -> Step | None:
    """The first step that will end in time, if any.

    Args:
        steps: what is left to do.
        left_s: how much of the slice is left.
    """
    return next((step for step in steps if step.expected_s <= left_s), None)
