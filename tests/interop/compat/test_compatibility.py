"""The table of who reads our images is what `docs/compatibility.md` says, and has a reason for every gap."""

from __future__ import annotations

import difflib

import pytest

from tests.interop.compat.gaps import explain
from tests.interop.compat.measure import Cell, measure_all
from tests.interop.compat.page import PAGE, page
from tests.interop.conftest import COMPATIBILITY
from tests.interop.containerd import Containerd
from tests.trees import Tree

pytestmark = [pytest.mark.root, pytest.mark.interop, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cells(odd_tree: Tree, truth_containerd: Containerd, pytestconfig: pytest.Config) -> list[Cell]:
    measured = measure_all(odd_tree, truth_containerd)
    pytestconfig.stash[COMPATIBILITY] = page(measured)
    return measured


def test_every_reader_that_is_missing_has_a_reason(cells: list[Cell]) -> None:
    assert explain(cells).unexplained == []


def test_every_reason_is_still_one(cells: list[Cell]) -> None:
    assert explain(cells).unneeded == [], "these readers accept it now: take the gaps away"


def test_the_page_is_what_was_measured(cells: list[Cell]) -> None:
    measured = page(cells)
    changes = difflib.unified_diff(PAGE.read_text().splitlines(), measured.splitlines(), lineterm="", n=0)
    assert list(changes) == [], "run `make compatibility`"
