"""Spoils bytes that mean nothing to it: bits, integers, stretches.

Everything is drawn from the generator that is handed in, so the same seed gives the same bytes on every
machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

MAX_SIZE: Final = 1 << 20  # of what comes out; larger inputs find nothing that smaller ones do not

_WIDTHS: Final = (1, 2, 4, 4, 8, 8)
_POWERS: Final = (7, 8, 12, 15, 16, 20, 24, 31, 32, 40, 44, 48, 63, 64)


def spoil(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Applies one to a dozen changes, mostly few.

    Args:
        rng: source of all choices.
        data: what to spoil.
        others: further inputs, of which pieces are taken.
    """
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 12))):
        if not spoilt:
            spoilt += rng.randbytes(rng.randint(1, 64))
        rng.choice(_CHANGES)(rng, spoilt)
        if others and rng.random() < 0.05:
            _splice(rng, spoilt, rng.choice(others))
    return bytes(spoilt[:MAX_SIZE])


def spoil_integer(rng: random.Random, data: bytes) -> bytes:
    """Changes one aligned little-endian integer that is not zero, if there is one: fields seldom lie in
    padding.
    """
    spoilt = bytearray(data)
    width = rng.choice(_WIDTHS)
    for _ in range(20):
        at = rng.randrange(max(1, len(spoilt) // width)) * width
        if any(spoilt[at : at + width]) or rng.random() < 0.02:
            _set_integer(rng, spoilt, at, width)
            break
    return bytes(spoilt)


def integer(rng: random.Random, old: int, width: int, size: int) -> int:
    """A value that may well be mishandled: limits, neighbours of the old one, sizes of the input.

    Args:
        rng: source of all choices.
        old: the value in its place.
        width: bytes that it has there.
        size: bytes of the whole input.
    """
    near = rng.choice((1, 1, 2, 4, 8, 16, 128, 4096, 1 << 20))
    value = rng.choice(
        (
            0,
            1,
            (1 << rng.choice(_POWERS)) - rng.choice((0, 0, 1)),
            old + near,
            old - near,
            old * 2,
            old ^ (1 << rng.randrange(8 * width)),
            size + rng.randint(-2, 2),
            rng.getrandbits(8 * width),
            rng.randrange(256),
        )
    )
    return value % (1 << (8 * width))


def _set_integer(rng: random.Random, data: bytearray, at: int, width: int) -> None:
    order = "big" if rng.random() < 0.03 else "little"
    old = int.from_bytes(data[at : at + width], "little")
    value = integer(rng, old, width, len(data))
    data[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]  # one of the two literals


def _flip_bit(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x2E, 0x2F, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _any_integer(rng: random.Random, data: bytearray) -> None:
    data[:] = spoil_integer(rng, bytes(data))


def _copy_integer(rng: random.Random, data: bytearray) -> None:
    """Puts an integer where another is: offsets and indexes that are valid, but elsewhere."""
    width = rng.choice(_WIDTHS)
    last = max(1, len(data) // width)
    source, target = rng.randrange(last) * width, rng.randrange(last) * width
    data[target : target + width] = data[source : source + width]


def _delete(rng: random.Random, data: bytearray) -> None:
    start, length = _stretch(rng, data)
    del data[start : start + length]


def _duplicate(rng: random.Random, data: bytearray) -> None:
    start, length = _stretch(rng, data)
    data[start:start] = data[start : start + length]


def _move(rng: random.Random, data: bytearray) -> None:
    start, length = _stretch(rng, data)
    piece = data[start : start + length]
    del data[start : start + length]
    at = rng.randint(0, len(data))
    data[at:at] = piece


def _fill(rng: random.Random, data: bytearray) -> None:
    start, length = _stretch(rng, data)
    length = len(data[start : start + length])
    data[start : start + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _append(rng: random.Random, data: bytearray) -> None:
    count = rng.choice((1, 16, 512, 4096))
    data += rng.choice((bytes(count), rng.randbytes(count), bytes(data[-count:])))


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    start, length = _stretch(rng, bytearray(other))
    at = rng.randint(0, len(data))
    data[at : at + rng.choice((0, length))] = other[start : start + length]


def _stretch(rng: random.Random, data: bytearray) -> tuple[int, int]:
    """A start and a length, often those of records."""
    length = rng.choice((1, 2, 4, 8, 16, 32, 80, 128, 256, 512, 4096, rng.randint(1, max(1, len(data)))))
    start = rng.randrange(len(data)) if data else 0
    return (start - start % length if rng.random() < 0.5 else start), length


_CHANGES: Final[tuple[Callable[[random.Random, bytearray], None], ...]] = (
    _flip_bit, _flip_bit, _set_byte, _set_byte,
    _any_integer, _any_integer, _any_integer, _any_integer, _copy_integer, _copy_integer,
    _delete, _duplicate, _move, _fill, _truncate, _append,
)  # fmt: skip
