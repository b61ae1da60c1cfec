"""What was measured, as JSON files: one for each row of the table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import mean, median


class Mode(StrEnum):
    """How the nodes get the image; the value names the row's file.

    NATIVE: each node pulls from the registry, whose redirect leads to a gateway without peers.
    MIRROR: Dragonfly without us: the node's own peer is its registry mirror.
    PEER: ours: registry, gateway, and a second redirect to the node's own peer.
    BYTES: ours: registry, and one gateway that reads from the seed peer and sends the bytes itself.
    LAZY: the converted image, mounted by nydusd through the node's own peer; a program runs to its end.
    """

    NATIVE = "native"
    MIRROR = "mirror"
    PEER = "peer"
    BYTES = "bytes"
    LAZY = "lazy"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the origin sent in one phase.

    Args:
        body_bytes: bytes of blobs, by the servers' own counting.
        requests: answers with bytes of blobs in them.
        link_bytes: all that went over its link: headers, manifests and redirects too.
    """

    body_bytes: int
    requests: int
    link_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: one mode, N nodes, all starting at the same moment, cold.

    Args:
        mode: how the nodes got the image.
        nodes: how many.
        run: number of the repetition, from 1.
        rate_bit_s: rate of every link, in bits a second and each direction.
        image: name of what was pulled.
        image_bytes: what a full pull transfers: config and layers, stored.
        seconds: from the common start to the end, for each node.
        received_bytes: what each node's link brought, headers included.
        seeding: what the origin sent before the pull, for the seed peer.
        pulling: what the origin sent during the pull.
        processor: share of the machine's processors that was busy during the pull, 0 to 1. Near 1 the machine
            and not the links has set the time.
        started: when, ISO 8601 in UTC.
        settings: what else was set, for the record.
    """

    mode: Mode
    nodes: int
    run: int
    rate_bit_s: int
    image: str
    image_bytes: int
    seconds: tuple[float, ...]
    received_bytes: tuple[int, ...]
    seeding: Traffic
    pulling: Traffic
    processor: float
    started: str
    settings: dict[str, str | int]

    @property
    def average_s(self) -> float:
        """Mean over the nodes."""
        return mean(self.seconds)

    @property
    def slowest_s(self) -> float:
        """The node that was last."""
        return max(self.seconds)

    @property
    def origin_bytes(self) -> int:
        """Bytes of blobs that the origin sent, for seeding and pulling together."""
        return self.seeding.body_bytes + self.pulling.body_bytes

    @property
    def origin_images(self) -> float:
        """`origin_bytes` in images."""
        return self.origin_bytes / self.image_bytes


def row_path(directory: Path, mode: Mode, nodes: int, run: int) -> Path:
    """The file of a row."""
    return directory / f"{mode}-{nodes:03}-{run}.json"


def save(directory: Path, row: Row) -> Path:
    """Writes a row's file, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    path = row_path(directory, row.mode, row.nodes, row.run)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(row), indent=1) + "\n")
    scratch.rename(path)
    return path


def load(path: Path) -> Row:
    """Reads a row's file.

    Raises:
        ValueError: it is not one.
    """
    try:
        fields = json.loads(path.read_bytes())
        return Row(
            **fields
            | {
                "mode": Mode(fields["mode"]),
                "seconds": tuple(fields["seconds"]),
                "received_bytes": tuple(fields["received_bytes"]),
                "seeding": Traffic(**fields["seeding"]),
                "pulling": Traffic(**fields["pulling"]),
            }
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a row of this benchmark ({error}): remove it to measure again"
        ) from error


def load_all(directory: Path) -> list[Row]:
    """All rows of a directory, by mode and number of nodes."""
    order = list(Mode)
    rows = [load(path) for path in directory.glob("*.json")]
    return sorted(rows, key=lambda row: (order.index(row.mode), row.nodes, row.run))


@dataclass(frozen=True, slots=True)
class Cell:
    """The runs of one mode with one number of nodes, together.

    Args:
        average_s: median over the runs of the mean over the nodes.
        slowest_s: median over the runs of the slowest node.
        origin_images: largest of the runs, in images.
        origin_requests: largest of the runs.
        origin_link_bytes: median over the runs, of the pull alone.
        processor: largest of the runs.
        received_bytes: median over the runs of the mean over the nodes.
        runs: how many.
    """

    mode: Mode
    nodes: int
    average_s: float
    slowest_s: float
    origin_images: float
    origin_requests: int
    origin_link_bytes: float
    processor: float
    received_bytes: float
    runs: int


def cells(rows: Iterable[Row]) -> dict[tuple[Mode, int], Cell]:
    """Rows of the same mode and number of nodes put together."""
    groups: dict[tuple[Mode, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.mode, row.nodes), []).append(row)
    return {
        key: Cell(
            mode=key[0],
            nodes=key[1],
            average_s=median(row.average_s for row in group),
            slowest_s=median(row.slowest_s for row in group),
            origin_images=max(row.origin_images for row in group),
            origin_requests=max(row.seeding.requests + row.pulling.requests for row in group),
            origin_link_bytes=median(row.pulling.link_bytes for row in group),
            processor=max(row.processor for row in group),
            received_bytes=median(mean(row.received_bytes) for row in group),
            runs=len(group),
        )
        for key, group in groups.items()
    }
