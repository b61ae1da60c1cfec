"""Where inodes go: by the rules of §3.9, held against a plain reading of them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from converter.rafs.layout import BLOCK_SIZE, META_GAP, SLOT_SIZE
from converter.rafs.placement import Shape, place

BLOCK = BLOCK_SIZE


class Plain:
    """The rules as the note words them, step by step."""

    def __init__(self) -> None:
        self.off = META_GAP
        self.free: list[list[int]] = [[] for _ in range(128)]

    def put(self, o: int) -> None:
        if o % BLOCK:
            self.free[(BLOCK - o % BLOCK) // 32].append(o - o % BLOCK)

    def get(self, size: int) -> int | None:
        if size >= BLOCK:
            return None
        m = -(-size // 32)
        for i in range(m, BLOCK // 32):
            if self.free[i]:
                o = self.free[i].pop(0) + BLOCK - 32 * i
                self.put(o + 32 * m)
                return o
        return None

    def align(self, unit: int) -> None:
        self.off = -(-self.off // unit) * unit

    def place(self, shape: int, s: int, d: int) -> tuple[int, int]:
        data = 0
        if shape == Shape.BARE:
            o = self.off
            self.off += s
        elif shape == Shape.CHUNKED:
            got = self.get(s)
            o = self.off if got is None else got
            self.off += s if got is None else 0
        elif shape == Shape.INLINE:
            o, data = self.inline(s, d)
        else:
            got = self.get(s)
            o = self.off if got is None else got
            self.off += s if got is None else 0
            self.put(self.off)
            self.align(BLOCK)
            data = self.off
            self.off += d
            self.align(BLOCK)
        self.align(32)
        return o, data

    def inline(self, s: int, d: int) -> tuple[int, int]:
        t = d % BLOCK
        got = self.get(s + t)
        o = self.off if got is None else got
        if got is None:
            if BLOCK - self.off % BLOCK < s + t:
                self.put(self.off)
                self.align(BLOCK)
            o = self.off
            self.off += s + t
        if d != t:
            self.put(self.off)
            self.align(BLOCK)
        data = self.off
        self.off += d - t
        return o, data


heads = st.integers(16, 100) | st.integers(16, 2000).map(lambda n: 4 * n)
chunked = st.tuples(st.just(int(Shape.CHUNKED)), heads.map(lambda n: 2 * n), st.just(0))
bare = st.tuples(st.just(int(Shape.BARE)), heads, st.just(0))
plain = st.tuples(st.just(int(Shape.PLAIN)), heads, st.integers(1, 20000))
tails = st.tuples(heads, st.integers(1, 4031)).filter(lambda pair: sum(pair) <= BLOCK)
inline = st.builds(
    lambda pair, full: (int(Shape.INLINE), pair[0], full * BLOCK + pair[1]), tails, st.integers(0, 3)
)
nodes = st.lists(chunked | bare | plain | inline, max_size=60)


@given(nodes)
@settings(deadline=None)
def test_as_the_rules_say(wanted: list[tuple[int, int, int]]) -> None:
    rules = Plain()
    expected = [rules.place(*node) for node in wanted]
    found = place(wanted)
    assert list(zip(found.inodes, found.data, strict=True)) == expected
    assert found.end == rules.off


@given(nodes)
@settings(deadline=None)
def test_nothing_overlaps(wanted: list[tuple[int, int, int]]) -> None:
    placement = place(wanted)
    taken = []
    for (shape, head, size), position, data in zip(wanted, placement.inodes, placement.data, strict=True):
        assert position % SLOT_SIZE == 0
        tail = size % BLOCK if shape == Shape.INLINE else 0
        taken.append((position, position + head + tail))
        if shape == Shape.INLINE:
            assert position // BLOCK == (position + head + tail - 1) // BLOCK
        if size - tail:
            assert data % BLOCK == 0
            taken.append((data, data + size - tail))
    taken.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert not taken or taken[0][0] >= META_GAP
    assert not taken or taken[-1][1] <= placement.end
