"""Writes `docs/p2p-performance.md` from the rows that were measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.p2p.model import Curve, fit, goodput_byte_s, held_out_error, largest_error
from tests.benchmarks.p2p.results import Cell, Mode, Row, cells

DRAWING: Final = "p2p-performance.svg"
MODEL_NODES: Final = (1, 10, 100, 1000, 10_000)
NAMES: Final = {
    Mode.NATIVE: "native",
    Mode.MIRROR: "Dragonfly's mirror",
    Mode.PEER: "ours, to the node's peer",
    Mode.BYTES: "ours, through one gateway",
    Mode.LAZY: "ours, lazy",
}

_NOTHING: Final = "-"

_HEAD: Final = """\
# How long nodes wait for an image

Written by `make bench-p2p` from what it measured; no figure here is typed in by hand. MB are 10^6 bytes.

All nodes start at the same moment, with nothing cached. Every node is a network namespace whose link carries
{rate} Mbit/s in each direction (`tc tbf`), and so are the machine with registry, gateway and blobs, and the
one with Dragonfly's scheduler and its one seed peer. Every node has a real Dragonfly client of its own. The
image is {image}: {size:.0f} MB. Length and SHA-256 of everything that arrives are checked.
Before the pull, `p2p_seed` has seeded the blobs. Machine: {machine}.

* **{native}**: registry, redirect, gateway; each node gets every byte from there.
* **{mirror}**: without us: the node's own peer is the mirror of the registry.
* **{peer}**: registry, redirect, gateway, second redirect to the node's own peer
  (`gateway.answer = "peer-redirect"`).
* **{bytes}**: registry, redirect, and the gateway reads from the seed peer and sends the bytes
  itself (`gateway.answer = "bytes"`). All of them leave over one link, so this is as slow as a native pull;
  what it saves is the store. Measured to 16 nodes.
* **{lazy}**: the converted image, mounted by nydusd whose registry is the node's own peer. The time ends
  when a program from the image, {program}, has printed its result. The others still have to unpack and start.
"""
_TIMES: Final = """
## Time

Seconds: average over the nodes / the slowest node{runs}.

"""
_RATIOS: Final = """
## How much faster than native

The slowest node, native ÷ the others.

"""
_ORIGIN: Final = """
## What the origin sent

Bytes of blobs in images (a lazy pull's in converted images), seeding included, and the requests for them.
The bytes are sent once, to the seed peer. The requests grow with the nodes: each peer asks the origin for one
byte of each blob that it does not know.

"""
_MODEL: Final = """
## A model for more nodes

**Calculated, not measured.** {model_text}

"""
_MODEL_TEXT: Final = """\
Everything through one link takes time in proportion to N. Among peers, the time grows with the logarithm
of N, and by what the origin's link still carries for each node: manifest, redirects, and a byte of each blob.
The constants are fitted to the averages above. Left out: the scheduler as a bottleneck, nodes that start one
after the other, links that differ, failures.\
"""
_PROCESSOR: Final = """
## What the machine did

Share of the processors that was busy during the pull. Where it is near 100 % the machine, and not the links,
has set the times of the peers, which would be shorter on machines of their own.

"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the page says of where it was measured.

    Args:
        machine: processors, memory, system.
        image_bytes: of the image.
        program: what the lazy nodes ran, in words.
    """

    machine: str
    image_bytes: int
    program: str


def page(rows: Sequence[Row], circumstances: Circumstances) -> str:
    """The whole page.

    Args:
        rows: everything measured; at least two native rows.
        circumstances: of the measurement.

    Raises:
        ValueError: rows of different links or images, which cannot stand in one table.
    """
    if len({(row.rate_bit_s, row.image) for row in rows}) != 1:
        raise ValueError("the rows are of several rates or images: give each a results directory of its own")
    measured = cells(rows)
    runs = max(cell.runs for cell in measured.values())
    return "".join(
        [
            _HEAD.format(
                rate=rows[0].rate_bit_s // 10**6, image=rows[0].image, size=circumstances.image_bytes / 1e6,
                machine=circumstances.machine, program=circumstances.program, **_bold_names(),
            ),
            _TIMES.format(runs="" if runs == 1 else f"; medians of up to {runs} runs"),
            _by_nodes(measured, lambda cell: f"{cell.average_s:.1f} / {cell.slowest_s:.1f}"),
            f"\n![Times by number of nodes, measured and calculated]({DRAWING})\n",
            _RATIOS,
            _ratios(measured),
            _ORIGIN,
            _by_nodes(measured, lambda cell: f"{cell.origin_images:.3f} in {cell.origin_requests}"),
            _PROCESSOR,
            _by_nodes(measured, lambda cell: f"{cell.processor:.0%}"),
            _MODEL.format(model_text=_MODEL_TEXT),
            _model(measured, circumstances.image_bytes),
        ]
    )  # fmt: skip


def curves(measured: Mapping[tuple[Mode, int], Cell], image_bytes: int) -> dict[Mode, Curve]:
    """The model's curve of each mode that was measured often enough."""
    native = _of(measured, Mode.NATIVE)
    if len(native) < 2:
        return {}
    goodput = goodput_byte_s(native, image_bytes)
    return {mode: fit(found, goodput) for mode in Mode if len(found := _of(measured, mode)) > 1}


def _of(measured: Mapping[tuple[Mode, int], Cell], mode: Mode) -> list[Cell]:
    return [cell for (of, _), cell in sorted(measured.items(), key=lambda item: item[0][1]) if of is mode]


def _bold_names() -> dict[str, str]:
    return {mode.value: name for mode, name in NAMES.items()}


def _by_nodes(measured: Mapping[tuple[Mode, int], Cell], show: Callable[[Cell], str]) -> str:
    modes = [mode for mode in Mode if _of(measured, mode)]
    lines = [_line(["nodes", *(NAMES[mode] for mode in modes)]), _line(["--:"] * (len(modes) + 1))]
    for nodes in sorted({nodes for _, nodes in measured}):
        found = [measured.get((mode, nodes)) for mode in modes]
        lines.append(_line([str(nodes), *(_NOTHING if cell is None else show(cell) for cell in found)]))
    return "".join(lines)


def _ratios(measured: Mapping[tuple[Mode, int], Cell]) -> str:
    modes = [mode for mode in Mode if mode is not Mode.NATIVE and _of(measured, mode)]
    lines = [_line(["nodes", *(NAMES[mode] for mode in modes)]), _line(["--:"] * (len(modes) + 1))]
    for native in _of(measured, Mode.NATIVE):
        found = [measured.get((mode, native.nodes)) for mode in modes]
        ratios = [_NOTHING if cell is None else f"{native.slowest_s / cell.slowest_s:.2f}" for cell in found]
        lines.append(_line([str(native.nodes), *ratios]))
    return "".join(lines)


def _model(measured: Mapping[tuple[Mode, int], Cell], image_bytes: int) -> str:
    drawn = curves(measured, image_bytes)
    if not drawn:
        return "Too little is measured for it.\n"
    goodput = goodput_byte_s(_of(measured, Mode.NATIVE), image_bytes)
    header = ["mode", "seconds", "largest error", "foretold", *(f"N = {nodes:,}" for nodes in MODEL_NODES)]
    lines = [_line(header), _line(["---", "---", *["--:"] * (len(header) - 2)])]
    for mode, curve in drawn.items():
        found = _of(measured, mode)
        held_out = held_out_error(found, goodput)
        lines.append(
            _line(
                [
                    NAMES[mode],
                    curve.formula(),
                    f"{largest_error(curve, found):.0%}",
                    _NOTHING if held_out is None else f"{held_out:+.0%}",
                    *(f"{curve.seconds(nodes):,.0f} s" for nodes in MODEL_NODES),
                ]
            )
        )
    explained = (
        "\n*Largest error*: of the curve against the measured averages. *Foretold*: how far the curve that is"
        " fitted without\nthe largest number of nodes is off there.\n"
    )
    return "".join(lines) + explained


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |\n"
