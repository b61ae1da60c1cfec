"""`make bench-gateway`: how fast the gateway sends ranges of a stored blob, beside nginx on the same files.

Writes `docs/performance-gateway.md`. All servers are asked in turn, several times over, so that whatever else
the machine does meets all of them alike. Ends with status 1 if the gateway misses what is asked of it.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from converter.oci import Digest
from p2p_seed.store import DirectoryStore
from p2p_seed.store.keys import blob_key
from registry_hook.gateway import GatewaySettings
from registry_hook.gateway.cloudfront import CloudFrontKey
from tests.benchmarks.load import Load, Outcome, content, run_apart
from tests.peers.nginx import Nginx
from tests.registry_hook.gateway.process import GatewayProcess
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, SIGV4_KEY, CloudFrontKeys, presigned

PAGE: Final = Path(__file__).parents[2] / "docs/performance-gateway.md"
SIZE: Final = 256 << 20
RUNS: Final = 5
RUN_S: Final = 2.0

# What is asked of the gateway.
MIN_BYTES_PER_S: Final = 1e9
MIN_REQUESTS_PER_S: Final = 2000
MAX_P99_MS: Final = 30


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of load."""

    name: str
    range_bytes: int
    connections: int

    @property
    def large(self) -> bool:
        """Whether bytes count, and not requests."""
        return self.range_bytes >= 1 << 20

    def shown(self, outcome: Outcome) -> str:
        """What the table has of an outcome."""
        rate = f"{outcome.bytes_per_s / 1e9:.2f} GB/s" if self.large else f"{outcome.requests_per_s:,.0f}/s"
        return f"{rate}, {outcome.median_ms:.1f} / {outcome.p99_ms:.1f} ms"

    def problem(self, outcome: Outcome) -> str | None:
        """What is missed, if anything."""
        if self.large:
            return None if outcome.bytes_per_s >= MIN_BYTES_PER_S else "less than 1 GB/s"
        if outcome.requests_per_s < MIN_REQUESTS_PER_S:
            return f"less than {MIN_REQUESTS_PER_S} requests/s"
        return None if outcome.p99_ms < MAX_P99_MS else f"p99 is not under {MAX_P99_MS} ms"


SHAPES: Final = (
    Shape("8 MiB, 4 connections", 8 << 20, 4),
    Shape("64 KiB, 8 connections", 64 << 10, 8),
    Shape("64 KiB, 32 connections", 64 << 10, 32),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A running server; `url` makes the URL of the blob, freshly signed where it is."""

    name: str
    url: Callable[[], str]


@contextmanager
def servers(directory: Path) -> Iterator[list[Target]]:
    """All servers, over one store with one blob."""
    root, digest = _store(directory)
    keys = CloudFrontKeys(directory)
    key = CloudFrontKey(KEY_PAIR_ID, keys.public_key_file)
    path = f"/{blob_key(digest)}"
    plain = GatewaySettings(store=f"filesystem:{root}", closed_network=True, access_log=False)
    signed = replace(plain, closed_network=False, sigv4=SIGV4_KEY, cloudfront=key)
    with ExitStack() as stack:

        def gateway(name: str, settings: GatewaySettings) -> str:
            (directory / name).mkdir()
            return stack.enter_context(GatewayProcess(directory / name, settings)).url + path

        def nginx(workers: int) -> str:
            return stack.enter_context(Nginx(directory / f"nginx-{workers}", root, workers)).url + path

        one, two = nginx(1), nginx(2)
        unsigned, checking = gateway("plain", plain), gateway("signed", signed)
        yield [
            Target("nginx, 1 worker", lambda: one),
            Target("nginx, 2 workers", lambda: two),
            Target("gateway, closed network", lambda: unsigned),
            Target("gateway, SigV4 checked", lambda: presigned(checking, time.time())),
            Target("gateway, CloudFront checked", lambda: keys.signed(checking, time.time() + 1200)),
        ]


def _store(directory: Path) -> tuple[Path, Digest]:
    root = directory / "store"
    root.mkdir()
    bytes_of_blob = content(SIZE)
    digest = Digest.of(bytes_of_blob)
    source = directory / "blob"
    source.write_bytes(bytes_of_blob)
    DirectoryStore(root).put(digest, source)
    source.unlink()
    return root, digest


def measure(targets: list[Target]) -> dict[str, dict[str, Outcome]]:
    """For each server and shape the run that is in the middle."""
    runs: dict[tuple[str, str], list[Outcome]] = {}
    for shape in SHAPES:
        for _ in range(RUNS):
            for target in targets:
                load = Load(target.url(), SIZE, shape.range_bytes, shape.connections, RUN_S)
                runs.setdefault((target.name, shape.name), []).append(run_apart(load))
    return {
        target.name: {shape.name: _middle(runs[target.name, shape.name]) for shape in SHAPES}
        for target in targets
    }


def _middle(outcomes: list[Outcome]) -> Outcome:
    """Each figure by itself: the run with the median rate need not have the median delay."""
    return Outcome(
        requests=sum(outcome.requests for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
        bytes_per_s=statistics.median(outcome.bytes_per_s for outcome in outcomes),
        requests_per_s=statistics.median(outcome.requests_per_s for outcome in outcomes),
        median_ms=statistics.median(outcome.median_ms for outcome in outcomes),
        p99_ms=statistics.median(outcome.p99_ms for outcome in outcomes),
    )


def page(figures: Mapping[str, Mapping[str, Outcome]], conditions: str) -> str:
    """The page, as Markdown."""
    header = ["server", *(shape.name for shape in SHAPES)]
    rows = [
        [name, *(shape.shown(outcomes[shape.name]) for shape in SHAPES)] for name, outcomes in figures.items()
    ]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return _PAGE.format(table=table, conditions=conditions, size=SIZE >> 20, runs=RUNS, run_s=RUN_S)


_PAGE: Final = """# How fast the gateway is

Written by `make bench-gateway`; do not edit. Each cell: rate, and the median and 99th percentile of the time
from sending a request to the last byte of its answer.

{table}

Asked of the gateway: 1 GB/s with 8 MiB, and 2,000 requests/s with 64 KiB at a 99th percentile under 30 ms;
the command fails if it misses any of that.

- {conditions}.
- Ranges at random places of one blob of {size} MiB in a local store, in the page cache; plain HTTP over
  loopback, connections kept.
- The client is one Python process on the same processors, checks each answer's status, length and first
  bytes, and takes one processor: what nginx could do beyond it cannot be seen here.
- The median of {runs} runs of {run_s:g} s, the servers in turn. One process a server unless it says
  otherwise; no access log.
- nginx has sendfile, as the gateway has. It answers from files only, and checks no signature.
"""


def main() -> int:
    """Measures, prints and writes the page."""
    load_before = os.getloadavg()[0]
    conditions = (
        f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, load average {load_before:.1f} before"
    )
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as targets:
        figures = measure(targets)
    text = page(figures, conditions)
    print(text)
    PAGE.write_text(text)
    missed = [
        f"{name}, {shape.name}: {problem}"
        for name, outcomes in figures.items()
        for shape in SHAPES
        if name.startswith("gateway") and (problem := shape.problem(outcomes[shape.name])) is not None
    ]
    print("\n".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
