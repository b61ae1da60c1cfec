"""Compresses batches of chunks in threads and gives them back in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

import zstandard

from converter import lz4_block
from converter.options import ConvertOptions

MAX_THREADS: Final = 16  # beyond that, reading the layer is slower than compressing it


def compress_one(data: bytes | memoryview, level: int) -> bytes:
    """One zstd frame with its content size and without a checksum (§2.4)."""
    return _compressor(level).compress(data)


def store(pieces: Sequence[bytes], level: int) -> list[bytes]:
    """What to store for each piece: a zstd frame, or the piece itself where that is not smaller.

    A frame does not depend on the other pieces, nor on how they are handed over.
    """
    frames = _compressor(level).multi_compress_to_buffer(list(pieces))
    return [frames[i].tobytes() if len(frames[i]) < len(piece) else piece for i, piece in enumerate(pieces)]


def store_lz4(pieces: Sequence[bytes]) -> list[bytes]:
    """As `store`, with LZ4 blocks."""
    blocks = (lz4_block.compress(piece) for piece in pieces)
    return [block if len(block) < len(piece) else piece for piece, block in zip(pieces, blocks, strict=True)]


def batch_worker(options: ConvertOptions) -> Callable[[list[bytes]], list[bytes]]:
    """What turns a batch of chunks into their stored form."""
    if options.compressor == "zstd":
        return partial(store, level=options.level)
    return store_lz4 if options.compressor == "lz4_block" else list[bytes]


class OrderedPool:
    """Threads that turn batches of chunks into their stored form; results come in the order of the batches.

    Only so many batches are held that no thread has to wait for the next one.

    Args:
        work: what to do with a batch, in a thread.
        threads: how many; 0 for one a processor.
    """

    def __init__(self, work: Callable[[list[bytes]], list[bytes]], threads: int) -> None:
        count = min(threads or len(os.sched_getaffinity(0)), MAX_THREADS)
        self._work = work
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compress")
        self._ahead = count + 1
        self._waiting: deque[Future[list[bytes]]] = deque()

    def submit(self, batch: list[bytes]) -> list[bytes]:
        """Hands a batch in; gives the result of the oldest one once enough are waiting, else nothing."""
        self._waiting.append(self._pool.submit(self._work, batch))
        return self._waiting.popleft().result() if len(self._waiting) > self._ahead else []

    def drain(self) -> Iterator[list[bytes]]:
        """Gives the results of all batches that are left."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def close(self) -> None:
        """Ends the threads; batches that nobody has begun are dropped."""
        self._pool.shutdown(cancel_futures=True)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
