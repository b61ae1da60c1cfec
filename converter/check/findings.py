"""What a check found: a bounded number of lines, and how many there were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MAX_LINES: Final = 1000


@dataclass(slots=True)
class CheckReport:
    """The result of a check.

    Args:
        lines: the first differences, each in one line.
        count: how many there are.
        names: names of the merged tree that were compared.
        file_bytes: content of the source's layers that was compared, repeated content included.
        blobs: data blobs that were read from the first byte to the last.
        blob_bytes: their lengths together.
        prefetch: what the prefetch table of the conversion lists, whether or not that was asked for.
    """

    lines: list[str] = field(default_factory=list)
    count: int = 0
    names: int = 0
    file_bytes: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    prefetch: tuple[str, ...] = ()

    def add(self, line: str) -> None:
        """Adds a difference."""
        self.count += 1
        if len(self.lines) < MAX_LINES:
            self.lines.append(line)

    def extend(self, lines: Iterable[str], where: str = "") -> None:
        """Adds differences, with what they are about in front."""
        for line in lines:
            self.add(f"{where}: {line}" if where else line)
