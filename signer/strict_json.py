"""Reading JSON that came from a registry."""

from __future__ import annotations

import json
from typing import Any


def parse_json(raw: bytes) -> Any:  # any JSON value
    """Parses JSON, and refuses an object with a key twice, which two readers could understand in two ways.

    Raises:
        ValueError: not JSON in UTF-8, nested too deeply, or a key occurs twice.
    """
    try:
        return json.loads(raw.decode(), object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value
