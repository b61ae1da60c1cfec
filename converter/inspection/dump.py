"""Offset-annotated text of bootstraps: every byte is accounted for."""

from __future__ import annotations

from collections.abc import Iterator

from converter.errors import BootstrapError
from converter.inspection.bootstrap_dump import dump_v6
from converter.inspection.rafs5_dump import dump_v5
from converter.rafs.layout import MIN_BOOTSTRAP_SIZE
from converter.rafs.reader import rafs_version


def dump_bootstrap(data: bytes | bytearray | memoryview) -> Iterator[str]:
    """Writes a bootstrap of either version out, line by line; lines are made when they are asked for.

    Each begins with the offset and the number of bytes that it is about, both in hexadecimal. `!!` marks what
    a sound bootstrap does not have but a reader passes over: bytes that belong to nothing, or to two things.

    Raises:
        BootstrapError: it breaks the format; lines about what stands in front of it may have been given.
    """
    view = memoryview(data).cast("B")
    if len(view) < MIN_BOOTSTRAP_SIZE:
        raise BootstrapError(f"a bootstrap cannot have {len(view)} bytes")
    return dump_v5(view) if rafs_version(view) == 5 else dump_v6(view)
