"""What all tests share: real servers, and what happens when a program or a right is missing.

Elsewhere than in CI a test whose program is missing is skipped, with the command that installs it. In CI (the
variable `CI` is `true`) nothing is skipped: it fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.programs import MissingProgramError
from tests.peers.registries import Registry, RegistryKind, RegistryOptions
from tests.peers.s3 import S3Server

IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Skips tests that need root, and those whose fixtures need a missing program."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        _cannot_run("needs root: run the tests as root")
    try:
        return (yield)
    except MissingProgramError as missing:
        _cannot_run(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Skips tests that meet a missing program on their way."""
    try:
        return (yield)
    except MissingProgramError as missing:
        _cannot_run(str(missing))


def _cannot_run(reason: str) -> None:
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


StartRegistry = Callable[..., Registry]


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[StartRegistry]:
    """Starts real registries, `start_registry(kind, options)`, and stops them after the test."""
    with ExitStack() as stack:

        def start(kind: RegistryKind = RegistryKind.V2, options: RegistryOptions | None = None) -> Registry:
            directory = tmp_path / f"registry-{len(list(tmp_path.glob('registry-*')))}"
            return stack.enter_context(Registry(kind, directory, options))

        yield start


@pytest.fixture(params=list(RegistryKind))
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A bare registry; a test that asks for it runs once with each kind."""
    with Registry(request.param, tmp_path / "registry") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One versitygw for the whole run; a test makes a bucket of its own in it."""
    with S3Server(tmp_path_factory.mktemp("versitygw")) as server:
        yield server
