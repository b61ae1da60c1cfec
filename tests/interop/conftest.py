"""The truth, measured once for all tests that need it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.containerd import Containerd, containerd
from tests.interop.truth import odd_truth
from tests.trees import Tree


@pytest.fixture(scope="session")
def truth_containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd whose layers lie in memory."""
    with containerd(tmp_path_factory.mktemp("containerd"), in_memory=True) as running:
        yield running


@pytest.fixture(scope="session")
def odd_tree(truth_containerd: Containerd, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """What the odd image has to look like."""
    return odd_truth(truth_containerd, tmp_path_factory.mktemp("umoci"))


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    """An empty directory to mount on."""
    directory = tmp_path / "mountpoint"
    directory.mkdir()
    return directory


COMPATIBILITY = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table of who reads our images, if it was measured."""
    if COMPATIBILITY in config.stash:
        terminalreporter.section("who reads our images")
        for line in config.stash[COMPATIBILITY].splitlines():
            terminalreporter.line(line)
