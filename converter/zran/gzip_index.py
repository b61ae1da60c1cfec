"""Inflates a gzip layer and remembers where one can begin to read it.

What is remembered of a layer takes at most about a hundredth of its size in memory besides the windows, and a
window for each `spacing` bytes of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from converter.decompress import BLOCK_SIZE, StoredInput
from converter.errors import InvalidLayerError
from converter.zran.errors import NotReferenceableError
from converter.zran.libz import GZIP, WINDOW_SIZE, InflateError, Inflater
from converter.zran.windows import needed_window

MIN_SPACING: Final = (
    512 << 10
)  # stored bytes from one checkpoint to the next, as the reference builder has it
MAX_OUTPUT: Final = (
    2 << 20
)  # uncompressed bytes between two of them, or else stored ones are too few to ask for
_MAX_WINDOWS: Final = 8192  # 256 MiB of memory; larger layers get fewer checkpoints in each gigabyte
_MAX_CHECKPOINTS: Final = 1 << 20
_MIN_BLOCK: Final = 32  # stored bytes that a block has at least on average; each costs some microseconds
_FREE_BLOCKS: Final = 10_000  # that are not counted
_MAX_DETAIL: Final = 4096  # stored bytes between two positions that are remembered, if blocks are smaller
_MAX_HELD: Final = 1 << 20  # stored bytes that 32 KiB of output can reasonably need


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place where inflating can begin: between two deflate blocks, or behind the header of a gzip member.

    Args:
        in_offset: in the layer.
        out_offset: in the tar.
        bits: how many high bits of the byte before `in_offset` belong to what follows, 0 to 7.
        byte: that byte; 0 without bits.
        window: what is needed of the 32 KiB of the tar before `out_offset`, and of this gzip member.
    """

    in_offset: int
    out_offset: int
    bits: int
    byte: int
    window: bytes


class GzipIndex:
    """Reads one layer, and knows its checkpoints afterwards.

    Args:
        stored_size: bytes of the layer.

    Attributes:
        checkpoints: in the order of the layer.
        in_offsets, out_offsets: pairs of positions in layer and tar between which deflate blocks lie, both
            ascending; the first pair and those at the ends of gzip members are among them.
        member_ends: where gzip members end, in the tar.
        usable_ends: up to where a client can read each of them. nydusd takes the end of deflate data for an
            error (nydus-utils 0.4.1 src/compress/zlib_random.rs, `uncompress`), so it must not be made to see
            it: the last byte is out of its reach, unless the last block is an empty one and can be left out.
    """

    def __init__(self, stored_size: int) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.in_offsets = array("Q", [0])
        self.out_offsets = array("Q", [0])
        self.member_ends = array("Q")
        self.usable_ends = array("Q")
        self._spacing = max(MIN_SPACING, stored_size // _MAX_WINDOWS)
        self._blocks = 0
        self._taken = 0  # bytes of the layer that were given to zlib
        self._out = 0
        self._last_block = (0, 0)  # where the block begins in which zlib is: in the layer, and in the tar
        self._open: _OpenCheckpoint | None = None

    def blocks(self, source: StoredInput) -> Iterator[bytes]:
        """Gives the tar in blocks of bounded size, none empty, and uses up the layer.

        Raises:
            InvalidLayerError: the layer is damaged, truncated, or has garbage behind its end.
            NotReferenceableError: it has too many gzip members, or deflate blocks of no size.
        """
        with Inflater(GZIP, BLOCK_SIZE) as member:
            while source.next_gzip_member():
                member.restart()
                try:
                    yield from self._member(member, source)
                except InflateError as error:
                    raise InvalidLayerError(f"the layer's gzip data are damaged: {error}") from error
                rest = member.unused()
                self._taken -= len(rest)
                source.give_back(rest)

    def _member(self, member: Inflater, source: StoredInput) -> Iterator[bytes]:
        is_new = True
        while not member.ended:
            if not member.pending:
                data = source.some()
                if not data:
                    raise InvalidLayerError("the layer ends inside a gzip member: it is truncated")
                member.feed(data)
                self._taken += len(data)
                if self._open:
                    self._open.feed(data)
            block = member.inflate(stop_at_block=True)
            if block:
                self._out += len(block)
                self._follow(block)
                yield block
            if member.at_block:
                self._at_block(member, is_new=is_new)
                is_new = False
        self._close(at_end=True)
        self._end_member(self._taken - member.pending)

    def _end_member(self, position: int) -> None:
        last_position, last_out = self._last_block
        is_last_empty = last_out == self._out
        if is_last_empty:
            # An empty block takes 10 bits at least, so none lies in the byte that this position shares.
            self._remember(last_position)
        self._remember(position)
        self.member_ends.append(self._out)
        self.usable_ends.append(self._out if is_last_empty else self._out - 1)

    def _at_block(self, member: Inflater, *, is_new: bool) -> None:
        position = self._taken - member.pending
        self._blocks += 1
        if self._blocks > _FREE_BLOCKS + position // _MIN_BLOCK:
            raise NotReferenceableError("its deflate blocks have hardly any content")
        self._last_block = position, self._out
        if is_new or position - self.in_offsets[-1] >= _MAX_DETAIL:
            self._remember(position)
        if not (is_new or self._is_due(position)):
            return
        if len(self.checkpoints) >= _MAX_CHECKPOINTS:
            raise NotReferenceableError(f"it has more than {_MAX_CHECKPOINTS} gzip members")
        if is_new:
            self.checkpoints.append(Checkpoint(position, self._out, 0, 0, b""))
            return
        bits = member.shared_bits
        self._open = _OpenCheckpoint(
            Checkpoint(position, self._out, bits, member.last_byte() if bits else 0, member.window()),
            member.unused(),
        )

    def _is_due(self, position: int) -> bool:
        last = self.checkpoints[-1]
        far = position - last.in_offset >= self._spacing or self._out - last.out_offset >= MAX_OUTPUT
        return far and self._open is None

    def _remember(self, position: int) -> None:
        self.in_offsets.append(position)
        self.out_offsets.append(self._out)

    def _follow(self, output: bytes) -> None:
        """Gives output to the checkpoint that waits for it."""
        if self._open:
            self._open.follow(output)
            if self._open.is_complete or self._open.is_hopeless:
                self._close(at_end=False)

    def _close(self, *, at_end: bool) -> None:
        if self._open:
            self.checkpoints.append(self._open.finish(at_end=at_end))
            self._open = None


class _OpenCheckpoint:
    """A checkpoint with its whole window, until enough of what follows is known.

    Args:
        whole: the checkpoint.
        stored: bytes of the layer from there on.
    """

    def __init__(self, whole: Checkpoint, stored: bytes) -> None:
        self._whole = whole
        self._stored = bytearray(stored)
        self._output = bytearray()

    @property
    def is_complete(self) -> bool:
        """Whether nothing behind what is known can need the window."""
        return len(self._output) == WINDOW_SIZE

    @property
    def is_hopeless(self) -> bool:
        """Whether the layer is one that no compressor writes: blocks without content, many times over."""
        return len(self._stored) > _MAX_HELD

    def feed(self, stored: bytes) -> None:
        """Adds bytes of the layer."""
        self._stored += stored

    def follow(self, output: bytes) -> None:
        """Adds bytes of the tar."""
        self._output += output[: WINDOW_SIZE - len(self._output)]

    def finish(self, *, at_end: bool) -> Checkpoint:
        """The checkpoint with what is needed of its window.

        Args:
            at_end: the gzip member ends here.
        """
        at = self._whole
        if not (at_end or self.is_complete):
            return at
        window = needed_window(at.window, at.bits, at.byte, bytes(self._stored), bytes(self._output))
        return replace(at, window=window)
