"""Spoils JSON documents where it hurts: values of the wrong type, missing and surplus keys, deep nesting."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from tests.fuzz import mutate

_DEEP: Final = 2000
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2, 1 << 31, 1 << 63, 1 << 64, 10**40, 1.5, 1e308, float("nan"), float("inf"),
    "", "x", "x" * 5000, "\ud800", "\0", "../../etc", "sha256:", "sha256:" + "0" * 64, "sha256:" + "F" * 64,
    "sha512:" + "0" * 128, "application/vnd.oci.image.index.v1+json", [], {}, [[]], [None], {"": None},
)  # fmt: skip
_KEYS: Final = (
    "mediaType", "schemaVersion", "config", "layers", "manifests", "subject", "annotations", "artifactType",
    "platform", "urls", "data", "digest", "size", "rootfs", "diff_ids", "history", "blobs", "target", "",
)  # fmt: skip


def spoil(rng: random.Random, data: bytes) -> bytes:
    """Applies one to five changes to a document; what is no JSON is spoilt as bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate.spoil(rng, data)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        document = _change(rng, document)
    encoded = json.dumps(document, indent=rng.choice((None, 1)), ensure_ascii=rng.random() < 0.9)
    text = encoded.encode("utf-8", "surrogatepass")
    return mutate.spoil(rng, text) if rng.random() < 0.1 else _nested(rng, text)


def _nested(rng: random.Random, text: bytes) -> bytes:
    """Now and then, a value nested deeper than any parser goes."""
    if rng.random() < 0.99 or b":" not in text:
        return text
    at = text.index(b":") + 1
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    depth = rng.choice((200, _DEEP, 50 * _DEEP))
    return text[:at] + opening * depth + b"1" + closing * depth + b"," + text[at:]


def _change(rng: random.Random, document: Any) -> Any:
    holders = [document] if isinstance(document, (dict, list)) and document else []
    for holder in holders:
        values = holder.values() if isinstance(holder, dict) else holder
        holders.extend(value for value in values if isinstance(value, (dict, list)) and value)
    if not holders:
        return _value(rng)
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        _add(rng, holder, holder[key])
    elif kind == 2:
        _add(rng, holder, _value(rng))
    elif kind == 3:
        other = rng.choice(holders)
        holder[key] = json.loads(
            json.dumps(rng.choice(list(other.values()) if isinstance(other, dict) else other))
        )
    else:
        holder[key] = _other_value(rng, holder[key])
    return document


def _value(rng: random.Random) -> Any:
    """One of the values, and not shared with anything: the next change may be inside it."""
    return json.loads(json.dumps(rng.choice(_VALUES)))


def _add(rng: random.Random, holder: Any, value: Any) -> None:
    value = json.loads(json.dumps(value))
    if isinstance(holder, dict):
        holder[rng.choice(_KEYS)] = value
    else:
        holder.extend([value] * rng.choice((1, 1, 1, 200)))


def _other_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return mutate.integer(rng, value, 8, 1000) - rng.choice((0, 0, 1 << 63))
    if isinstance(value, str) and value and rng.random() < 0.5:
        return mutate.spoil(rng, value.encode("utf-8", "replace")).decode("utf-8", "replace")
    return _value(rng)
