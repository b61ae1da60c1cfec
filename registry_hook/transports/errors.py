"""Errors of the transports.

::

    TransportError
    ├── InvalidLocationError   none of the forms of `location.py`, or not the place for it
    ├── InvalidLayoutError     the directory or archive is not an OCI layout we can use
    ├── NoSuchImageError       the place holds no image of that name, or several and none was named
    ├── EngineError            the container engine cannot be reached, or failed
    └── UnwritableError        the destination cannot be written

Wrong content raises the `ContentError`s of `registry_hook.registry.errors`, whatever it is read from;
registries raise the other errors of that module too.
"""


class TransportError(Exception):
    """An image cannot be read from, or written to, the place given."""


class InvalidLocationError(TransportError):
    """The text names no place that we know how to use, or one that must not be used so."""


class InvalidLayoutError(TransportError):
    """A directory or archive is not an OCI layout we can use."""


class NoSuchImageError(TransportError):
    """A layout or container engine does not hold the image asked for."""


class EngineError(TransportError):
    """A container engine cannot be reached, or did not export an image; the message has its own words."""


class UnwritableError(TransportError):
    """The destination cannot be written: no such directory, no permission, no space."""
