"""Writes `docs/compatibility.md`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.interop.compat.gaps import explain
from tests.interop.compat.measure import READERS, Cell

PAGE: Final = Path(__file__).parents[3] / "docs/compatibility.md"
_HEAD: Final = """\
# What reads our images

Measured by `make interop`, and written by `make compatibility`; a test fails when this page is not what is
measured. A row is something that an image can have, a column a form that it is converted to, and a cell says
who accepted the outcome:

"""
_NOTES: Final = """
A number in a cell names the reason why a letter is missing there:

"""
_BEYOND: Final = """
Not in the table, because they take too long: a directory of 100,000 entries
(`tests/interop/test_large_directory.py`), and images of 10^6 files and of 20 GiB (`make interop-full`). Not
written at all: batch chunks, which nydusd 2.2 refuses, gzip chunks and encrypted blobs. The layers of *Nydus'
own tests* are made anew from what is in them.
"""


def page(cells: Sequence[Cell]) -> str:
    """The text of the page."""
    reasons = explain(cells).reasons
    numbers = {why: number for number, why in enumerate(dict.fromkeys(reasons.values()), 1)}
    legend = "".join(f"- **{letter}**: {what}\n" for letter, what in READERS.items())
    notes = "".join(f"{number}. {why}\n" for why, number in numbers.items())
    return _HEAD + legend + "\n" + _table(cells, reasons, numbers) + _NOTES + notes + _BEYOND


def _table(cells: Sequence[Cell], reasons: dict[tuple[str, str, str], str], numbers: dict[str, int]) -> str:
    rows, columns = (dict.fromkeys(getattr(cell, name) for cell in cells) for name in ("row", "column"))
    by_place = {(cell.row, cell.column): cell for cell in cells}
    lines = [["Feature", *columns], ["---"] * (1 + len(columns))]
    lines += [[row, *(_cell(by_place[row, column], reasons, numbers) for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(cell: Cell, reasons: dict[tuple[str, str, str], str], numbers: dict[str, int]) -> str:
    """The letters of the readers that accepted, and the numbers of the reasons why others did not."""
    missing = [letter for letter in READERS if (cell.row, cell.column, letter) in reasons]
    notes = sorted({numbers[reasons[cell.row, cell.column, letter]] for letter in missing})
    letters = "".join(letter for letter in READERS if letter not in missing)
    return f"{letters} {','.join(map(str, notes))}".strip()
