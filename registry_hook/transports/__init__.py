"""Images in OCI layouts, OCI archives and registries, named as skopeo names them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from registry_hook.registry import RegistryClient
from registry_hook.transports.errors import (
    InvalidLayoutError,
    InvalidLocationError,
    NoSuchImageError,
    TransportError,
)
from registry_hook.transports.protocols import ImageSink, ImageSource

ClientFor: TypeAlias = Callable[[str], RegistryClient]


def open_source(location: str, client_for: ClientFor) -> AbstractContextManager[ImageSource]:
    """Opens an image for reading.

    Args:
        location: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `docker://HOST/REPOSITORY[:TAG|@DIGEST]`.
        client_for: gives the client for a registry host.
    """
    raise NotImplementedError


def open_sink(location: str, client_for: ClientFor) -> AbstractContextManager[ImageSink]:
    """Opens a place for writing an image; leaving the context without an error makes it durable.

    Args:
        location: as for `open_source`, without a digest.
        client_for: gives the client for a registry host.
    """
    raise NotImplementedError


__all__ = [
    "ClientFor",
    "ImageSink",
    "ImageSource",
    "InvalidLayoutError",
    "InvalidLocationError",
    "NoSuchImageError",
    "TransportError",
    "open_sink",
    "open_source",
]
