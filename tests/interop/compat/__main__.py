"""`make compatibility`: measures who reads what, and writes `docs/compatibility.md`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.interop.compat.gaps import explain
from tests.interop.compat.measure import measure_all
from tests.interop.compat.page import PAGE, page
from tests.interop.containerd import containerd
from tests.interop.truth import odd_truth


def main() -> int:
    """Runs the command line; the exit status is 0 if every missing reader has a reason."""
    with (
        tempfile.TemporaryDirectory() as root,
        tempfile.TemporaryDirectory() as work,
        containerd(Path(root), in_memory=True) as running,
    ):
        cells = measure_all(odd_truth(running, Path(work)), running)
    found = explain(cells)
    PAGE.write_text(page(cells))
    for line in found.unexplained:
        print(f"no reason is known: {line}", file=sys.stderr)
    for gap in found.unneeded:
        print(f"no gap any more: {gap}", file=sys.stderr)
    return 1 if found.unexplained or found.unneeded else 0


if __name__ == "__main__":
    sys.exit(main())
