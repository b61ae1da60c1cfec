from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_hook.gateway.ranges import UnsatisfiableRangeError, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=99-99", (99, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=10-1000000", (10, 100)),
        ("bytes=10-" + "9" * 5000, (10, 100)),
        ("bytes=000010-000019", (10, 20)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-5000", (0, 100)),
        ("BYTES=10-19", (10, 20)),
        ("bytes= 10-19 ", (10, 20)),
        ("bytes=,10-19,", (10, 20)),  # RFC 9110 section 5.6.1: empty list elements do not count.
    ],
)
def test_one_range(header: str, expected: tuple[int, int]) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header", ["items=0-5", "bytes", "", "bytes=0-1,5-6", "bytes=0-1, -1", "bytes=0-0,200-"]
)
def test_what_is_answered_with_everything(header: str) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=100-",
        "bytes=100-100",
        "bytes=" + "9" * 5000 + "-",
        "bytes=-0",
        "bytes=20-10",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=0x1-2",
        "bytes=1 - 2",
        "bytes=\u0661-\u0662",  # Digits to Python, but not to HTTP.
        "bytes=0-1,x",
    ],
)
def test_what_is_refused(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 100)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_an_empty_blob_has_no_ranges(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 0)


@given(st.integers(1, 300), st.integers(0, 400), st.none() | st.integers(0, 400))
def test_a_range_is_pythons_slice(size: int, first: int, last: int | None) -> None:
    content = range(size)
    header = f"bytes={first}-{'' if last is None else last}"
    expected = content[first:] if last is None else content[first : last + 1]
    try:
        found = parse_range(header, size)
    except UnsatisfiableRangeError:
        assert len(expected) == 0
    else:
        assert found is not None
        assert content[slice(*found)] == expected


@given(st.text(max_size=40), st.integers(0, 100))
def test_garbage_is_refused_or_ignored(text: str, size: int) -> None:
    try:
        found = parse_range("bytes=" + text, size)
    except UnsatisfiableRangeError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
