"""The `Range` header of RFC 9110 section 14, as far as a blob needs it. Pure."""

from __future__ import annotations

import re
from typing import Final

_UNIT: Final = "bytes="
_ONE: Final = re.compile(r"(?:([0-9]+)-([0-9]*)|-([0-9]+))")
_MAX_DIGITS: Final = 18  # More than any blob has; int() would also refuse some thousand digits.


class UnsatisfiableRangeError(ValueError):
    """The range has nothing in common with the blob, or cannot be understood: the answer is 416."""


def parse_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """Which part of a blob a `Range` header asks for.

    Args:
        header: the header's value.
        size_bytes: length of the blob.

    Returns:
        The half-open range [start, end) with at least one byte, or None for the whole blob: another unit than
        bytes, and several ranges, which a server may answer so (section 14.2).

    Raises:
        UnsatisfiableRangeError: it begins behind the end, asks for no bytes, or is malformed. Section 14.2
            leaves it open to ignore a malformed one; the registry, in whose place we stand, refuses it.
    """
    if not header.lower().startswith(_UNIT):
        return None
    specs = [spec.strip(" \t") for spec in header[len(_UNIT) :].split(",")]
    ranges = [_resolve(spec, size_bytes) for spec in specs if spec]
    if len(ranges) > 1:
        return None
    if not ranges or ranges[0][0] >= ranges[0][1]:
        raise UnsatisfiableRangeError(header)
    return ranges[0]


def _resolve(spec: str, size_bytes: int) -> tuple[int, int]:
    """One range, cut to the blob; an empty one if they have nothing in common."""
    match = _ONE.fullmatch(spec)
    if match is None:
        raise UnsatisfiableRangeError(spec)
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size_bytes - _number(suffix)), size_bytes
    if last and _number(last) < _number(first):
        raise UnsatisfiableRangeError(spec)
    return _number(first), min(size_bytes, _number(last) + 1) if last else size_bytes


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else 10**_MAX_DIGITS
