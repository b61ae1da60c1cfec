"""Stored forms of chunks do not depend on how they are made."""

from __future__ import annotations

import random
import threading

import pytest
import zstandard

from converter.blob.compress import MAX_THREADS, OrderedPool, compress_one, store

RANDOM = random.Random(3)
PIECES = [
    b"a",
    b"hello world\n",
    b"z" * 5000,
    bytes(1 << 20),
    RANDOM.randbytes(4096),
    RANDOM.randbytes(70_000) * 3,
    b"all work and no play makes jack a dull boy\n" * 30_000,
    *(RANDOM.randbytes(7) * RANDOM.randrange(1, 60_000) for _ in range(20)),
]


@pytest.mark.parametrize("level", [1, 3, 9])
def test_frames_are_those_of_the_one_shot_api(level: int) -> None:
    """Batches, single calls and other threads must agree, or equal layers would get different digests."""
    single = [compress_one(piece, level) for piece in PIECES]
    plain = zstandard.ZstdCompressor(level=level)
    assert single == [plain.compress(piece) for piece in PIECES]
    wanted = [
        frame if len(frame) < len(piece) else piece for frame, piece in zip(single, PIECES, strict=True)
    ]
    assert store(PIECES, level) == wanted
    assert [store([piece], level)[0] for piece in PIECES] == wanted
    in_threads = plain.multi_compress_to_buffer([*PIECES], threads=3)
    assert [in_threads[i].tobytes() for i in range(len(PIECES))] == single


def test_frames_are_pinned() -> None:
    """The frame that the reference builder made (docs/nydus-image.md §6); another zstd may fail here."""
    assert compress_one(b"z" * 5000, 3).hex() == "28b52ffd6088124d0000107a7a010083d3032c"
    parameters = zstandard.get_frame_parameters(compress_one(PIECES[5], 3))
    assert (parameters.content_size, parameters.has_checksum, parameters.dict_id) == (210_000, False, 0)


def test_what_does_not_shrink_is_stored_as_it_is() -> None:
    assert store([b"a", PIECES[4]], 3) == [b"a", PIECES[4]]


def test_results_come_in_order_and_few_are_held() -> None:
    gate = threading.Event()

    def work(batch: list[bytes]) -> list[bytes]:
        if batch == [b"0"]:
            gate.wait(10)  # the first one is the slowest
        return batch

    pool = OrderedPool(work, 2)
    found = []
    for number in range(20):
        if number == 3:
            gate.set()
        found += pool.submit([b"%d" % number])
        assert number + 1 - len(found) <= 3
    found += [piece for batch in pool.drain() for piece in batch]
    pool.close()
    assert found == [b"%d" % number for number in range(20)]


def test_errors_of_a_thread_reach_the_caller() -> None:
    def work(batch: list[bytes]) -> list[bytes]:
        raise MemoryError(str(len(batch)))

    pool = OrderedPool(work, 1)
    assert pool.submit([b"x"]) == []
    with pytest.raises(MemoryError, match="1"):
        list(pool.drain())
    pool.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compress")]


def test_threads_are_bounded() -> None:
    pool = OrderedPool(list, 1000)
    for _ in range(100):
        pool.submit([b"x"])
    assert len([t for t in threading.enumerate() if t.name.startswith("compress")]) <= MAX_THREADS
    pool.close()
