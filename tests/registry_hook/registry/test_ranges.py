"""Blobs read anywhere, by ranges."""

from __future__ import annotations

import random
from dataclasses import replace

import httpx
import pytest

from registry_hook.registry import ProtocolError, RegistryError, SizeMismatchError
from tests.registry_hook.registry.fake import FakeRegistry, blob, client_of

MIB = 1 << 20
CONTENT = random.Random(1).randbytes(9 * MIB + 7)


def registry() -> FakeRegistry:
    fake = FakeRegistry()
    fake.blobs[str(blob(CONTENT).digest)] = CONTENT
    return fake


def test_any_part_of_a_blob_can_be_read_and_near_ones_cost_no_further_request() -> None:
    fake = registry()
    with client_of(fake) as client, client.open_seekable("app", blob(CONTENT)) as file:
        for start, count in ((5 * MIB, 100), (4 * MIB - 1, 2), (9 * MIB, 100), (0, MIB), (5 * MIB + 50, 1)):
            file.seek(start)
            assert file.read(count) == CONTENT[start : start + count]
        file.seek(-3, 2)
        assert file.read() == CONTENT[-3:]
    ranges = [request.headers["Range"] for request in fake.requests]
    assert ranges == ["bytes=4194304-8388607", "bytes=0-4194303", "bytes=8388608-9437190"]


def test_a_small_blob_may_come_whole() -> None:
    with (
        client_of(lambda _: httpx.Response(200, content=b"small")) as client,
        client.open_seekable("app", blob(b"small")) as file,
    ):
        assert file.read() == b"small"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, content=CONTENT[:100]), ProtocolError),
        (
            httpx.Response(206, headers={"Content-Range": f"bytes 1-5/{len(CONTENT)}"}, content=b"12345"),
            ProtocolError,
        ),
        (httpx.Response(206, content=b"12345"), ProtocolError),
        (httpx.Response(416, content=b""), SizeMismatchError),
        (
            httpx.Response(206, headers={"Content-Range": "bytes 0-4194303/9"}, content=b"x"),
            SizeMismatchError,
        ),
        (
            httpx.Response(206, headers={"Content-Range": f"bytes 0-4194303/{len(CONTENT)}"}, content=b"x"),
            ProtocolError,
        ),
        (httpx.Response(404), RegistryError),
    ],
)
def test_another_answer_than_the_range_is_an_error(
    answer: httpx.Response, error: type[RegistryError]
) -> None:
    with (
        client_of(lambda _: answer) as client,
        client.open_seekable("app", blob(CONTENT)) as file,
        pytest.raises(error),
    ):
        file.read(10)


def test_a_blob_of_another_length_is_an_error() -> None:
    with (
        client_of(registry()) as client,
        client.open_seekable("app", replace(blob(CONTENT), size=len(CONTENT) + 1)) as file,
        pytest.raises(SizeMismatchError),
    ):
        file.read(1)
