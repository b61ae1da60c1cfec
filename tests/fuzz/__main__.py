"""`python -m tests.fuzz`: spoils inputs and holds the converter to its promises.

--cases 200000 --seed 1    as `make fuzz` does
--only 1234                one case again, in this process, with its traceback
--save DIRECTORY           writes the input of each finding there; `found/<target>/` keeps those that were
                           fixed
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Finding, Outcome, run_campaign
from tests.fuzz.cases import make_case
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="run this case alone")
    parser.add_argument("--save", type=Path, help="write the inputs of findings into this directory")
    arguments = parser.parse_args()
    if arguments.only is not None:
        return _run_one(arguments.seed, arguments.only)
    cases = range(arguments.first, arguments.first + arguments.cases)
    outcome = run_campaign(arguments.seed, cases, arguments.workers, _tell)
    _show(outcome)
    if arguments.save:
        for finding in outcome.findings:
            _save(arguments.seed, finding, arguments.save)
    return 1 if outcome.findings else 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run_one(seed: int, number: int) -> int:
    case = make_case(seed, number)
    print(f"case {number} of seed {seed}: {len(case.data)} bytes for {case.target}, from {case.origin}")
    target = TARGETS[case.target]
    with tempfile.TemporaryDirectory() as work:
        try:
            target.run(case.data, Path(work))
        except target.refusals as error:
            print(f"refused: {type(error).__name__}: {error}")
        else:
            print("accepted")
    return 0


def _show(outcome: Outcome) -> None:
    for finding in outcome.findings:
        print(f"\ncase {finding.number} ({finding.target}, from {finding.origin}):\n{finding.problem}")
    print(f"\n{'target':<18}{'accepted':>10}{'refused':>10}")
    for target in TARGETS:
        accepted, refused = outcome.counts[f"{target} accepted"], outcome.counts[f"{target} refused"]
        print(f"{target:<18}{accepted:>10}{refused:>10}")
    print(
        f"{outcome.cases} cases in {outcome.seconds:.0f} s, {len(outcome.findings)} findings; one case took "
        f"at most {outcome.peak_bytes >> 20} MiB of memory and {outcome.longest_s:.2f} s of processor time"
    )


def _save(seed: int, finding: Finding, directory: Path) -> None:
    path = directory / finding.target / f"{seed}-{finding.number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_case(seed, finding.number).data)


if __name__ == "__main__":
    raise SystemExit(main())
