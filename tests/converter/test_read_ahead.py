"""Reading in a thread: order, digest, errors, and an end to the thread in every case."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest

from converter.read_ahead import ReadAhead


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-layer"]


def test_blocks_come_in_order_with_their_digest() -> None:
    blocks = [bytes([n % 256]) * (n * 3001 % 90_000 + 1) for n in range(200)]
    with ReadAhead(lambda: iter(blocks)) as ahead:
        found = list(ahead)
        assert b"".join(found) == b"".join(blocks)
        assert ahead.digest().hex == hashlib.sha256(b"".join(blocks)).hexdigest()
        assert ahead.size == sum(map(len, blocks))
        assert len(found) < len(blocks)  # small ones were joined
    assert not reading_threads()


def test_the_digest_is_not_told_too_early() -> None:
    with ReadAhead(lambda: iter([b"x" * (2 << 20)] * 3)) as ahead:
        next(iter(ahead))
        with pytest.raises(RuntimeError, match="before everything is read"):
            ahead.digest()


def test_errors_come_out_where_the_blocks_do() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * (2 << 20)
        raise OSError("the source broke")

    with ReadAhead(failing) as ahead:
        blocks = iter(ahead)
        assert next(blocks)
        with pytest.raises(OSError, match="the source broke"):
            next(blocks)
    assert not reading_threads()


@pytest.mark.parametrize("used", [0, 1, 5])
def test_leaving_early_ends_the_thread(used: int) -> None:
    produced = 0

    def endless() -> Iterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield bytes(1 << 20)

    with ReadAhead(endless) as ahead:
        blocks = iter(ahead)
        for _ in range(used):
            next(blocks)
    assert not reading_threads()
    assert produced < used + 20  # bounded: it does not run away from who uses it


def test_an_error_after_the_last_block_that_is_used_is_dropped_with_the_rest() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * (2 << 20)
        raise OSError("nobody asked")

    with ReadAhead(failing) as ahead:
        next(iter(ahead))
    assert not reading_threads()
