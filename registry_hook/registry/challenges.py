"""Parses `WWW-Authenticate` (RFC 9110 §11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # the RFC's `token`
# Either `name=value` (belongs to the scheme before it) or the name of a scheme.
_ITEM: Final = re.compile(
    rf"[\s,]*(?:(?P<name>{_WORD})\s*=\s*"
    rf'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD}))'
    rf"|(?P<scheme>{_WORD})(?=[\s,]|$))"
)
_MAX_CHARACTERS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers.

    Args:
        scheme: in lower case.
        parameters: by name in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Reads all challenges, up to the first thing that is none.

    Args:
        headers: the values of `WWW-Authenticate`; each may hold several challenges.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        text = header[:_MAX_CHARACTERS]
        position = 0
        while match := _ITEM.match(text, position):
            position = match.end()
            if match["scheme"]:
                found.append((match["scheme"].lower(), {}))
            elif found:
                value = (
                    match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
                )
                found[-1][1].setdefault(match["name"].lower(), value)
    return [Challenge(scheme, parameters) for scheme, parameters in found]
