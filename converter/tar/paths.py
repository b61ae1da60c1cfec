"""Paths as a tar has them: bytes, with `/` between components."""

from __future__ import annotations

from typing import Final

from converter.errors import InvalidLayerError, LimitExceededError

MAX_PATH_LENGTH: Final = 4095  # PATH_MAX without its NUL: what engines can create


def normalise(path: bytes) -> bytes:
    """Strips a path of the tar of everything that means nothing: `./`, repeated and final slashes.

    Returns:
        The components joined by `/`; nothing for the root.

    Raises:
        InvalidLayerError: an absolute path other than that of the root itself, a `..` component, or a NUL.
        LimitExceededError: a path longer than any engine can create.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if parts and path.startswith(b"/"):
        raise InvalidLayerError(f"the tar has the absolute path {show(path)}; paths must be relative")
    if b".." in parts:
        raise InvalidLayerError(f"the tar has the path {show(path)}; '..' could lead out of the image")
    clean = b"/".join(parts)
    if b"\0" in clean:
        raise InvalidLayerError(f"the tar has the path {show(path)} with a NUL byte")
    if len(clean) > MAX_PATH_LENGTH:
        raise LimitExceededError(f"the tar has a path of {len(clean)} bytes: {show(path)}")
    return clean


def show(path: bytes) -> str:
    """A path for people: quoted, escaped and not too long."""
    return repr(path[:200].decode("utf-8", "backslashreplace"))
