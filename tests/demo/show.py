"""What the demo prints: numbered stages, each with the time it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Show:
    """Prints stages and keeps their times."""

    def __init__(self) -> None:
        self._times: list[tuple[str, float]] = []
        self._started = time.monotonic()

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Prints a title before, and the time it took after."""
        number = len(self._times) + 1
        print(f"\n{number}. {title}", flush=True)
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        self._times.append((title, took))
        print(f"   ({took:.1f} s)", flush=True)

    def line(self, text: str = "") -> None:
        """Prints a line, or several, of the running stage."""
        for line in text.splitlines():
            print(f"   {line}", flush=True)

    def summary(self) -> None:
        """Prints how long each stage took."""
        print("\nHow long it took")
        for title, took in self._times:
            print(f"   {took:6.1f} s  {title}")
        print(f"   {time.monotonic() - self._started:6.1f} s  in all", flush=True)


def megabytes(count: int) -> str:
    """A size in bytes, as people read it."""
    return f"{count / 1e6:.1f} MB"
