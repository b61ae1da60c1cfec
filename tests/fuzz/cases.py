"""Case number N of seed S: which target, which bytes. Nothing else decides it: a number is a reproduction.

But for the version of zlib, by which some layers are compressed.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz import blobs, json_documents, mutate, tars
from tests.fuzz.packing import pack, unpack

CORPUS: Final = Path(__file__).with_name("corpus")
FOUND: Final = Path(__file__).with_name("found")

# Whose inputs a target takes, if not its own.
BORROWED: Final[Mapping[str, str]] = {
    "reference": "layer",
    "check": "nydus-image",
    "dictionary": "nydus-image",
}

# How many of a hundred cases each target gets.
SHARES: Final[Mapping[str, int]] = {
    "layer": 26, "reference": 8, "layers": 8, "bootstrap": 22, "blob": 13, "nydus-image": 4, "check": 3,
    "dictionary": 3, "bootstrap-layer": 2, "manifest": 4, "config": 2, "chunk-list": 2, "predicate": 2,
    "text": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An input for a target.

    Args:
        target: its name in `targets.TARGETS`.
        origin: file of the corpus that was spoilt.
        data: the input.
    """

    target: str
    origin: str
    data: bytes


@functools.cache
def corpus(target: str) -> tuple[tuple[str, bytes], ...]:
    """The sound inputs of a target by name, and spoilt ones that once went wrong."""
    files = sorted((CORPUS / BORROWED.get(target, target)).iterdir()) + sorted((FOUND / target).glob("*"))
    return tuple((path.name, path.read_bytes()) for path in files)


def make_case(seed: int, number: int) -> Case:
    """The case of that number."""
    rng = random.Random(f"{seed}/{number}")
    target = rng.choices(list(SHARES), list(SHARES.values()))[0]
    inputs = corpus(target)
    origin, data = rng.choice(inputs)
    others = [other for _, other in inputs]
    return Case(target, origin, _SPOIL[target](rng, data, others))


def _layer(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A layer of the corpus: as it is stored, or the tar in it."""
    if data[:2] == b"\x1f\x8b" or data[:1] == b"\x28" or rng.random() < 0.1:
        return mutate.spoil(rng, data, others)
    return tars.store(rng, tars.spoil(rng, data, others))


def _reference(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A layer, mostly in gzip."""
    if data[:2] == b"\x1f\x8b" or data[:1] == b"\x28":
        return mutate.spoil(rng, data, others)
    tar = tars.spoil(rng, data, others) if rng.random() < 0.5 else data
    stored = tars.store_gzip(rng, tar)
    return mutate.spoil(rng, stored) if rng.random() < 0.4 else stored


def _layers(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    parts = unpack(data)
    pool = [part for other in others for part in unpack(other)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not parts or rng.random() < 0.2:
            parts.insert(rng.randint(0, len(parts)), rng.choice(pool))
        at = rng.randrange(len(parts))
        parts[at] = tars.spoil(rng, parts[at], pool)
    return pack(parts[:8])


def _bootstrap(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return blobs.spoil_bootstrap(rng, data)


def _bootstrap_layer(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return tars.store(rng, tars.spoil(rng, data, others))


def _json(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return json_documents.spoil(rng, data)


_SPOIL: Final[Mapping[str, Callable[[random.Random, bytes, list[bytes]], bytes]]] = {
    "layer": _layer, "reference": _reference, "layers": _layers, "bootstrap": _bootstrap,
    "nydus-image": _bootstrap, "check": _bootstrap, "dictionary": _bootstrap, "blob": blobs.spoil,
    "bootstrap-layer": _bootstrap_layer, "manifest": _json, "config": _json, "predicate": _json,
    "chunk-list": mutate.spoil, "text": mutate.spoil,
}  # fmt: skip
