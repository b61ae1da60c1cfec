"""A progress bar for a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.progress import (
    Progress as Bars,
)

from converter.progress import NO_PROGRESS, Progress


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """Shows a bar for each stage of a conversion; nothing where nobody watches."""
    if not console.is_terminal:
        yield NO_PROGRESS
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        yield _Stages(bars)


class _Stages:
    """Implements `converter.progress.Progress`."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total_bytes)
        self._bars.update(self._tasks[stage], completed=done_bytes, total=total_bytes)
