"""Copies content into a layout, and checks it on the way."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from converter.oci import Descriptor
from registry_hook.registry.retry import RetryPolicy
from registry_hook.registry.verified import open_verified

READ_BYTES: Final = 1024 * 1024
_ONCE: Final = RetryPolicy(attempts=1)


def open_checked(descriptor: Descriptor, source: Path | bytes) -> closing[BinaryIO]:
    """Opens content to be copied; the stream raises DigestMismatchError or SizeMismatchError."""
    return closing(
        open_verified(f"blob {descriptor.digest} to store", descriptor, partial(_open_at, source), _ONCE)
    )


def copy_verified(descriptor: Descriptor, source: Path | bytes, target: BinaryIO) -> None:
    """Copies content.

    Raises:
        DigestMismatchError, SizeMismatchError: `source` is not what the descriptor says.
    """
    with open_checked(descriptor, source) as stream:
        shutil.copyfileobj(stream, target, READ_BYTES)


@contextmanager
def _open_at(source: Path | bytes, start: int) -> Iterator[Iterator[bytes]]:
    stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with stream:
        stream.seek(start)
        yield iter(partial(stream.read, READ_BYTES), b"")
