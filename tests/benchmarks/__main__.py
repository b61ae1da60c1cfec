"""`make bench`: how fast an image is converted.

Converts the demo's image several times with each kind of options, every time in a process of its own, so that
peak memory is that of one conversion. The rates count uncompressed bytes of the layers' tars.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from typing import Final

from tests.benchmarks.conversion import OPTIONS, Measurement
from tests.demo.image import demo_image

RUNS: Final = 3


def main() -> int:
    """Measures and prints a table."""
    layout, _ = demo_image()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {layout}")
    print(f"median of {RUNS} runs")
    print(f"{'options':<18}{'wall s':>8}{'CPU s':>8}{'MB/s':>8}{'peak MB':>9}{'stored MB':>11}")
    for name in OPTIONS:
        runs = [_measure(name, str(layout)) for _ in range(RUNS)]
        wall_s = statistics.median(run.wall_s for run in runs)
        rate = runs[0].tar_bytes / wall_s / 1e6
        print(
            f"{name:<18}{wall_s:>8.2f}{statistics.median(run.cpu_s for run in runs):>8.2f}{rate:>8.0f}"
            f"{max(run.peak_bytes for run in runs) / 1e6:>9.0f}{runs[0].stored_bytes / 1e6:>11.1f}",
            flush=True,
        )
    return 0


def _measure(name: str, layout: str) -> Measurement:
    command = [sys.executable, "-m", "tests.benchmarks.conversion", name, layout]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measurement(**json.loads(done.stdout))


if __name__ == "__main__":
    sys.exit(main())
