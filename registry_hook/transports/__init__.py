"""Images in OCI layouts, OCI archives, registries and container engines, named as skopeo names them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

from converter.oci import Reference
from registry_hook.registry import RegistryClient
from registry_hook.transports.archive import open_archive_sink
from registry_hook.transports.copy import copy_blob, copy_image
from registry_hook.transports.directory import DirectoryFiles, DirectorySink
from registry_hook.transports.engine import open_engine_image
from registry_hook.transports.errors import (
    EngineError,
    InvalidLayoutError,
    InvalidLocationError,
    NoSuchImageError,
    TransportError,
    UnwritableError,
)
from registry_hook.transports.layout import LayoutSource
from registry_hook.transports.location import EngineLocation, LayoutLocation, parse_location
from registry_hook.transports.members import TarMembers
from registry_hook.transports.protocols import ImageSink, ImageSource
from registry_hook.transports.remote import RegistrySink, RegistrySource

ClientFor: TypeAlias = Callable[[str], RegistryClient]


def open_source(
    location: str, client_for: ClientFor, work_dir: Path | None = None
) -> AbstractContextManager[ImageSource]:
    """Opens an image for reading.

    Args:
        location: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker://HOST/REPOSITORY[:TAG|@DIGEST]` or
            `docker-daemon:NAME[:TAG]`.
        client_for: gives the client for a registry host; it stays open.
        work_dir: where to keep what a container engine exports; None takes the system's temporary directory.

    Raises:
        TransportError: see the tree of `registry_hook.transports.errors`.
    """
    place = parse_location(location)
    if isinstance(place, Reference):
        return nullcontext(RegistrySource(client_for(place.host), place))
    if isinstance(place, EngineLocation):
        return open_engine_image(place.name, work_dir)
    files = TarMembers(place.path) if place.is_archive else DirectoryFiles(place.path)
    return nullcontext(LayoutSource(files, place.name))


def refuse_same_place(source: str, destination: str) -> None:
    """Checks that writing an image does not replace the one that it is made of.

    An archive is always replaced as a whole, so its other names are no other places.

    Args:
        source: location of what is read.
        destination: location of what is written.

    Raises:
        InvalidLocationError: it would be replaced, or a location has none of the forms.
        TransportError: the source's layout cannot be read.
    """
    place, target = parse_location(source), parse_location(destination)
    if isinstance(place, LayoutLocation) and isinstance(target, LayoutLocation):
        same = place.path.resolve() == target.path.resolve()
        if same and not place.is_archive:
            same = target.name == (place.name or LayoutSource(DirectoryFiles(place.path), None).name)
    else:
        same = isinstance(place, Reference) and place.tag is not None and place == target
    if same:
        raise InvalidLocationError(f"the result would replace the source: {source!r} is {destination!r}")


def open_sink(location: str, client_for: ClientFor) -> AbstractContextManager[ImageSink]:
    """Opens a place for writing an image; leaving the context without an error makes it durable.

    Args:
        location: as for `open_source`, without a digest, and not in a container engine.
        client_for: gives the client for a registry host; it stays open.

    Raises:
        TransportError: see the tree of `registry_hook.transports.errors`.
    """
    place = parse_location(location)
    if isinstance(place, Reference):
        return nullcontext(RegistrySink(client_for(place.host), place))
    if isinstance(place, EngineLocation):
        raise InvalidLocationError(
            f"{location!r}: container engines cannot hold Nydus images; name a registry, oci: or oci-archive:"
        )
    if place.is_archive:
        return open_archive_sink(place.path, place.name)
    return nullcontext(DirectorySink(place.path, place.name))


__all__ = [
    "ClientFor",
    "EngineError",
    "ImageSink",
    "ImageSource",
    "InvalidLayoutError",
    "InvalidLocationError",
    "NoSuchImageError",
    "TransportError",
    "UnwritableError",
    "copy_blob",
    "copy_image",
    "open_sink",
    "open_source",
    "refuse_same_place",
]
