"""Names of images as skopeo spells them (containers-transports(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from converter.oci import InvalidReferenceError, Reference
from registry_hook.transports.errors import InvalidLocationError

# OCI image spec 1.1, annotations.md: the grammar of `org.opencontainers.image.ref.name`.
_COMPONENT: Final = r"[A-Za-z0-9]+(?:(?:--|[-._:@+])[A-Za-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
# Shorter than a registry's: the host may be left out. What it may look like is for the engine to say.
_ENGINE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_FORMS: Final = (
    "oci:DIR[:NAME], oci-archive:FILE[:NAME], docker://HOST/REPOSITORY[:TAG|@DIGEST] or "
    "docker-daemon:NAME[:TAG]"
)


@dataclass(frozen=True, slots=True)
class LayoutLocation:
    """An image in an OCI layout.

    Args:
        path: the directory or archive.
        name: `org.opencontainers.image.ref.name` of the image; None for the only image, or one without a
            name.
        is_archive: whether the layout is packed in a tar file.
    """

    path: Path
    name: str | None
    is_archive: bool


@dataclass(frozen=True, slots=True)
class EngineLocation:
    """An image in a container engine.

    Args:
        name: a name with a tag or digest, as the engine knows it, or an image id, `sha256:` and 64 digits.
    """

    name: str


Location: TypeAlias = LayoutLocation | EngineLocation | Reference


def parse_location(text: str) -> Location:
    """Reads an image name.

    Returns:
        The place in a layout or a container engine, or a reference that has either a tag (`latest` if none is
        given) or a digest.

    Raises:
        InvalidLocationError: the text has none of the four forms.
    """
    transport, colon, rest = text.partition(":")
    if colon and transport in ("oci", "oci-archive"):
        return _layout(text, rest, is_archive=transport == "oci-archive")
    if transport == "docker" and rest.startswith("//"):
        return _reference(text, rest.removeprefix("//"))
    if colon and transport == "docker-daemon":
        return _engine(text, rest)
    raise InvalidLocationError(f"{text!r} is not an image name: expected {_FORMS}")


def _engine(text: str, name: str) -> EngineLocation:
    if not _ENGINE_NAME.fullmatch(name):
        raise InvalidLocationError(f"{text!r} lacks the name of an image: expected {_FORMS}")
    if "@" in name or re.fullmatch(r"sha256:[0-9a-f]{64}", name) or ":" in name.rpartition("/")[2]:
        return EngineLocation(name)
    return EngineLocation(f"{name}:latest")  # an engine would take no tag for all tags


def _layout(text: str, rest: str, *, is_archive: bool) -> LayoutLocation:
    # The first colon ends the path, as in skopeo: names may hold colons, paths may not.
    path, _, name = rest.partition(":")
    if not path:
        raise InvalidLocationError(f"{text!r} lacks a path: expected {_FORMS}")
    if name and not _NAME.fullmatch(name):
        raise InvalidLocationError(f"{text!r}: {name!r} cannot be the name of an image in a layout")
    return LayoutLocation(Path(path), name or None, is_archive)


def _reference(text: str, rest: str) -> Reference:
    try:
        reference = Reference.parse(rest)
    except InvalidReferenceError as error:
        raise InvalidLocationError(f"{text!r}: {error}") from error
    if reference.tag is not None and reference.digest is not None:
        raise InvalidLocationError(f"{text!r} has a tag and a digest: only one of them can be meant")
    if reference.tag is None and reference.digest is None:
        return Reference(reference.host, reference.repository, "latest")
    return reference
