"""Offset-annotated lines that account for every byte.

A line is: offset and length in hexadecimal, what is there, and its fields. What no line claims is named, too:
as padding if it is all zero, else as unknown bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_PIECE: Final = 1 << 20
_SHOWN: Final = 16

Read = Callable[[int, int], bytes | memoryview]  # offset and size to bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Bytes that are known to be something.

    Args:
        offset: of the first.
        size: how many.
        text: what they are.
        inside: more lines about them, already formatted.
    """

    offset: int
    size: int
    text: str
    inside: Iterable[str] = ()


def account(claims: Iterable[Claim], start: int, end: int, read: Read) -> Iterator[str]:
    """Formats claims, and names what lies between them.

    Args:
        claims: in the order of their offsets.
        start: where to begin to account for bytes.
        end: where to end.
        read: gives bytes that nobody claims.
    """
    at = start
    for claim in claims:
        if claim.offset > at:
            yield from _unclaimed(at, claim.offset - at, read)
        note = "" if claim.offset >= at else f"  !! overlaps the {at - claim.offset} bytes before"
        yield format_line(claim.offset, claim.size, claim.text + note)
        yield from claim.inside
        at = max(at, claim.offset + claim.size)
    if at < end:
        yield from _unclaimed(at, end - at, read)


def format_line(offset: int, size: int, text: str) -> str:
    """One line."""
    return f"{offset:010x} {size:8x}  {text}"


def format_fields(**fields: object) -> str:
    """Fields as `name=value`; integers that are no counts are given as text by the caller."""
    return " ".join(f"{name}={value}" for name, value in fields.items())


def show_name(name: bytes) -> str:
    """A name or target on one line: what is not printable UTF-8 is escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _unclaimed(offset: int, size: int, read: Read) -> Iterator[str]:
    first = next(
        (
            piece
            for start in range(0, size, _PIECE)
            if any(piece := read(offset + start, min(_PIECE, size - start)))
        ),
        None,
    )
    if first is None:
        yield format_line(offset, size, "padding")
    else:
        shown = bytes(read(offset, min(size, _SHOWN))).hex()
        yield format_line(offset, size, f"!! unknown bytes, beginning with {shown}")
