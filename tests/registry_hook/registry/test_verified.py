"""The one rule of the verified stream: nobody gets the last byte of wrong content."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Descriptor, Digest
from registry_hook.registry import (
    DigestMismatchError,
    RegistryUnavailableError,
    RetryPolicy,
    SizeMismatchError,
)
from registry_hook.registry.verified import OpenAt, open_verified, open_verified_local

POLICY = RetryPolicy(attempts=3, sleep=lambda _: None)
CONTENT = bytes(range(256)) * 50


def descriptor(content: bytes, size: int | None = None) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(content), len(content) if size is None else size)


def opener(content: bytes, breaks: list[int], piece: int = 1000, opened: list[int] | None = None) -> OpenAt:
    """Serves `content`; connection number i breaks after breaks[i] bytes."""
    opened = [] if opened is None else opened

    @contextmanager
    def open_at(start: int) -> Iterator[Iterator[bytes]]:
        end = start + breaks[len(opened)] if len(opened) < len(breaks) else len(content)
        is_broken = len(opened) < len(breaks)
        opened.append(start)
        yield pieces(content[start:end], piece, is_broken=is_broken)

    return open_at


def pieces(content: bytes, piece: int, *, is_broken: bool) -> Iterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]
    if is_broken:
        raise RegistryUnavailableError("connection reset")


def drain(stream: BinaryIO, size: int) -> bytes:
    """Reads wrong content piece by piece, and gives what was handed out of it."""
    got = bytearray()
    try:
        while chunk := stream.read(size):
            got += chunk
    except (DigestMismatchError, SizeMismatchError):
        return bytes(got)
    pytest.fail("wrong content came out whole")


@given(st.binary(max_size=5000), st.integers(1, 700), st.integers(1, 900))
def test_right_content_comes_out_whole(content: bytes, piece: int, read_size: int) -> None:
    with open_verified("x", descriptor(content), opener(content, [], piece), POLICY) as stream:
        assert b"".join(iter(lambda: stream.read(read_size), b"")) == content


@pytest.mark.parametrize("read_size", [1, 100, 1000, 1_000_000])
def test_wrong_content_never_comes_out_whole(read_size: int) -> None:
    wrong = CONTENT[:-1] + b"!"
    with open_verified("x", descriptor(CONTENT), opener(wrong, []), POLICY) as stream:
        assert len(drain(stream, read_size)) < len(CONTENT)


def test_the_error_says_what_was_expected() -> None:
    with (
        open_verified("blob a/b@x", descriptor(CONTENT), opener(CONTENT[::-1], []), POLICY) as stream,
        pytest.raises(DigestMismatchError, match="blob a/b@x") as caught,
    ):
        stream.read()
    assert caught.value.expected == Digest.of(CONTENT)
    assert caught.value.actual == Digest.of(CONTENT[::-1])


@pytest.mark.parametrize("extra", [1, 999, 100_000])
def test_a_body_that_is_too_long_stops_at_once(extra: int) -> None:
    served: list[int] = []

    @contextmanager
    def open_at(start: int) -> Iterator[Iterator[bytes]]:
        def endless() -> Iterator[bytes]:
            for chunk in pieces(CONTENT + b"x" * extra, 1000, is_broken=False):
                served.append(len(chunk))
                yield chunk

        yield endless()

    with open_verified("x", descriptor(CONTENT), open_at, POLICY) as stream:
        assert len(drain(stream, 64)) < len(CONTENT)
    assert sum(served) <= len(CONTENT) + 1000


def test_a_body_that_is_too_short_is_an_error() -> None:
    opened: list[int] = []
    with open_verified("x", descriptor(CONTENT), opener(CONTENT[:-5], [], opened=opened), POLICY) as stream:
        assert len(drain(stream, 4096)) < len(CONTENT)
    assert len(opened) == POLICY.attempts


def test_a_size_smaller_than_the_content_is_an_error_too() -> None:
    short = descriptor(CONTENT, len(CONTENT) - 1000)  # exactly a piece less: the surplus comes on its own
    with open_verified("x", short, opener(CONTENT, []), POLICY) as stream:
        assert len(drain(stream, 4096)) < len(CONTENT)


def test_empty_content_is_checked() -> None:
    with open_verified("x", descriptor(b""), opener(b"", []), POLICY) as stream:
        assert stream.read() == b""
    with (
        open_verified("x", descriptor(b"a", 0), opener(b"", []), POLICY) as stream,
        pytest.raises(DigestMismatchError),
    ):
        stream.read()


def test_a_broken_stream_goes_on_from_the_byte_reached() -> None:
    opened: list[int] = []
    with open_verified(
        "x", descriptor(CONTENT), opener(CONTENT, [2500, 10], opened=opened), POLICY
    ) as stream:
        assert stream.read() == CONTENT
    assert opened == [0, 2500, 2510]


def test_a_server_that_goes_on_with_other_content_is_caught() -> None:
    other = bytes(byte ^ 1 for byte in CONTENT)
    first = opener(CONTENT, [2500])
    second = opener(other, [])

    @contextmanager
    def open_at(start: int) -> Iterator[Iterator[bytes]]:
        with (first if start == 0 else second)(start) as found:
            yield found

    with open_verified("x", descriptor(CONTENT), open_at, POLICY) as stream:
        assert len(drain(stream, 512)) < len(CONTENT)


def test_breaks_are_bounded() -> None:
    opened: list[int] = []
    with (
        open_verified("x", descriptor(CONTENT), opener(CONTENT, [10] * 99, opened=opened), POLICY) as stream,
        pytest.raises(RegistryUnavailableError),
    ):
        stream.read()
    assert len(opened) == POLICY.attempts


def test_breaks_far_apart_do_not_add_up() -> None:
    content = random.Random(7).randbytes(30 << 20)
    breaks = [5 << 20] * 5
    with open_verified("x", descriptor(content), opener(content, breaks, 1 << 16), POLICY) as stream:
        assert stream.read() == content


def test_a_break_after_the_last_byte_does_not_matter() -> None:
    with open_verified("x", descriptor(CONTENT), opener(CONTENT, [len(CONTENT)]), POLICY) as stream:
        assert stream.read() == CONTENT


def test_closing_closes_the_connection() -> None:
    closed = []

    @contextmanager
    def open_at(start: int) -> Iterator[Iterator[bytes]]:
        try:
            yield iter([CONTENT])
        finally:
            closed.append(True)

    stream = open_verified("x", descriptor(CONTENT + b"more"), open_at, POLICY)
    stream.read(10)
    stream.close()
    assert closed == [True]


def test_own_content_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    for source in (CONTENT, path):
        with open_verified_local(descriptor(CONTENT), source) as stream:
            assert stream.read() == CONTENT
        with open_verified_local(descriptor(CONTENT[:-1]), source) as stream:
            drain(stream, 100)
        with open_verified_local(descriptor(b"x" + CONTENT[1:]), source) as stream:
            drain(stream, 100)
