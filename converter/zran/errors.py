"""Why a layer cannot be left as it is."""

from __future__ import annotations


class NotReferenceableError(Exception):
    """A sound layer whose data cannot be read from the layer itself; it has to be converted.

    Never leaves the converter.
    """
